package election_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"

	"github.com/go-zookeeper/zk"

	"github.com/zkelection/election"
	"github.com/zkelection/election/electiontest"
)

// A service keeps its configuration in ZooKeeper, too. It reads and writes it on the
// session that the client has anyway.
func ExampleClient_Do() {
	ctx := context.Background()
	ensemble, err := electiontest.Start() // a ZooKeeper in memory; in a service, Connect alone
	if err != nil {
		log.Fatal(err)
	}
	defer ensemble.Close()
	client, err := election.Connect(ctx, ensemble.ConnectString(), election.WithDialer(ensemble.Dialer("a")),
		election.WithClientLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	// Full paths: the chroot of the connect string does not apply here.
	put := func(value string) error {
		return client.Do(ctx, func(conn *zk.Conn) error {
			_, err := conn.Set("/config", []byte(value), -1)
			if errors.Is(err, zk.ErrNoNode) {
				_, err = conn.Create("/config", []byte(value), 0, zk.WorldACL(zk.PermAll))
			}
			return err
		})
	}
	// The function may go on after Do has returned, if ctx has ended. So it hands its
	// result over by a channel, and writes to no variable of its caller.
	get := func() (string, error) {
		result := make(chan []byte, 1)
		err := client.Do(ctx, func(conn *zk.Conn) error {
			data, _, err := conn.Get("/config")
			result <- data
			return err
		})
		if err != nil {
			return "", err
		}
		return string(<-result), nil
	}

	_, err = get()
	fmt.Println(err) // the driver's error, as it is
	fmt.Println(put("workers=4"), put("workers=5"))
	fmt.Println(get())

	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(errors.Is(put("workers=6"), election.ErrClosed))
	// Output:
	// zk: node does not exist
	// <nil> <nil>
	// workers=5 <nil>
	// true
}
