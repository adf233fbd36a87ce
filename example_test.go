package election_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
	"github.com/zkelection/election/internal/zksim"
)

// The examples' ZooKeeper is in memory, until the tests end.
var (
	inMemory  = zksim.New(zksim.Config{})
	zookeeper = sync.OnceValue(func() string { return must(inMemory.ListenTCP("127.0.0.1:0")) })
)

// must keeps the examples to what they show; a service handles its errors.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var quiet = election.WithClientLogger(slog.New(slog.DiscardHandler))

func ExampleConnect() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client, err := election.Connect(ctx, zookeeper(), election.WithSessionTimeout(6*time.Second), quiet)
	if err != nil {
		fmt.Println("no session:", err)
		return
	}
	defer client.Close()

	_, err = client.Leader(ctx, "/example/connect")
	fmt.Println(errors.Is(err, election.ErrNoLeader))

	_, err = election.Connect(ctx, "zk1:2181,zk2:port/app/", quiet)
	fmt.Println(err)
	// Output:
	// true
	// election: Connect: connectString "zk1:2181,zk2:port/app/": chroot "/app/" ends with /
	// connectString "zk1:2181,zk2:port/app/": server "zk2:port" has the unknown port "port"
}

func ExampleCandidate_Await() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := must(election.Connect(ctx, zookeeper(), quiet))
	defer client.Close()
	anna := must(election.NewCandidate(client, "/example/await", election.WithID("anna")))
	boris := must(election.NewCandidate(client, "/example/await", election.WithID("boris")))

	first := must(anna.Await(ctx)) // nobody was ahead
	fmt.Println("anna leads:", anna.HasLeadership(), first.Err())
	if err := boris.Start(ctx); err != nil {
		panic(err)
	}
	fmt.Println("boris leads:", boris.HasLeadership(), "and is number", boris.Status().Place)

	if err := anna.Shutdown(ctx); err != nil {
		panic(err)
	}
	second := must(boris.Await(ctx))
	fmt.Println("anna's term ended:", first.Err())
	fmt.Println("boris leads:", boris.HasLeadership(), "with a larger token:", second.Token() > first.Token())
	// Output:
	// anna leads: true <nil>
	// boris leads: false and is number 2
	// anna's term ended: election: closed
	// boris leads: true with a larger token: true
}

func ExampleCandidate_Run() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := must(election.Connect(ctx, zookeeper(), quiet))
	defer client.Close()
	cand := must(election.NewCandidate(client, "/example/run", election.WithID("worker")))

	terms := 0
	err := cand.Run(ctx, func(ctx context.Context, term *election.Term) error {
		terms++
		if terms == 1 { // an operator removes the znode: the term is lost, and Run waits for the next
			leader := must(client.Leader(ctx, "/example/run"))
			operator, _, _ := zk.Connect([]string{zookeeper()}, 10*time.Second, zk.WithLogInfo(false))
			defer operator.Close()
			_ = operator.Delete(leader.Path, -1)
			<-ctx.Done()
			fmt.Println("first term:", context.Cause(ctx))
			return ctx.Err()
		}
		fmt.Println("second term:", ctx.Err())
		return errors.New("nothing left to do")
	})
	fmt.Println("Run:", err)
	fmt.Println("leads:", cand.HasLeadership())
	// Output:
	// first term: election: znode deleted
	// second term: <nil>
	// Run: nothing left to do
	// leads: false
}

func ExampleListener() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := must(election.Connect(ctx, zookeeper(), quiet))
	defer client.Close()

	told := make(chan string)
	cand := must(election.NewCandidate(client, "/example/listener", election.WithListener(election.ListenerFuncs{
		OnIsLeader:  func(t *election.Term) { told <- fmt.Sprint("leader, the term lasts: ", t.Err() == nil) },
		OnNotLeader: func(t *election.Term) { told <- fmt.Sprint("not leader: ", t.Err()) },
	})))
	must(cand.Await(ctx))
	fmt.Println(<-told)
	go cand.Resign(ctx) // alone in line, so it leads again
	fmt.Println(<-told)
	fmt.Println(<-told)
	// The last call comes when the client is closed.
	go client.Close()
	fmt.Println(<-told)
	// Output:
	// leader, the term lasts: true
	// not leader: election: resigned
	// leader, the term lasts: true
	// not leader: election: closed
}

func ExampleTerm_Guard() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := must(election.Connect(ctx, zookeeper(), quiet))
	defer client.Close()
	cand := must(election.NewCandidate(client, "/example/guard"))
	term := must(cand.Await(ctx))

	note := &zk.CreateRequest{Path: "/example/note", Data: []byte("by the leader"), Acl: zk.WorldACL(zk.PermAll)}
	_, err := term.Guard(ctx, note)
	fmt.Println("leading:", err)
	_, err = term.Guard(ctx, note)
	fmt.Println("once more:", errors.Is(err, zk.ErrNodeExists), errors.Is(err, election.ErrTermOver))

	if err := cand.Resign(ctx); err != nil {
		panic(err)
	}
	_, err = term.Guard(ctx, &zk.SetDataRequest{Path: "/example/note", Data: []byte("too late"), Version: -1})
	fmt.Println("after the term:", errors.Is(err, election.ErrTermOver))

	reader, _, _ := zk.Connect([]string{zookeeper()}, 10*time.Second, zk.WithLogInfo(false))
	defer reader.Close()
	data, _, err := reader.Get("/example/note")
	fmt.Printf("%s %v\n", data, err)
	// Output:
	// leading: <nil>
	// once more: true false
	// after the term: true
	// by the leader <nil>
}

func ExampleClient_Observe() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client := must(election.Connect(ctx, zookeeper(), quiet))
	defer client.Close()
	anna := must(election.NewCandidate(client, "/example/observe", election.WithID("anna")))
	boris := must(election.NewCandidate(client, "/example/observe", election.WithID("boris")))

	for leader, err := range client.Observe(ctx, "/example/observe") {
		switch {
		case errors.Is(err, election.ErrNoLeader) && boris.Status().State == election.StateClosed:
			fmt.Println("nobody leads any more")
			return
		case errors.Is(err, election.ErrNoLeader):
			fmt.Println("nobody leads")
			must(anna.Await(ctx))
		case err != nil:
			fmt.Println(err)
			return
		case leader.ID == "anna":
			fmt.Println("anna leads")
			if err := boris.Start(ctx); err != nil {
				panic(err)
			}
			_ = anna.Shutdown(ctx)
		default:
			fmt.Println(leader.ID, "leads")
			_ = boris.Shutdown(ctx)
		}
	}
	// Output:
	// nobody leads
	// anna leads
	// boris leads
	// nobody leads any more
}
