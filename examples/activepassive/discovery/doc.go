// Package discovery is a registry of services in ZooKeeper, in the format of Apache
// Curator's curator-x-discovery. Each instance has an ephemeral znode
// <base>/<service>/<uuid> with a JSON ServiceInstance as its data. Java's
// ServiceDiscovery reads what this package writes, and this package reads what Java
// writes.
//
// It uses the session of an election's client. A service registers itself and says in its
// payload whether it leads:
//
//	client, err := election.Connect(ctx, "zk1:2181,zk2:2181/my-app")
//	if err != nil { … }
//	defer client.Close()
//
//	registry := discovery.New(client, "/my-app", slog.Default())
//	instance := discovery.NewInstance("bookService", "10.0.0.7", 8070)
//	registration, err := registry.Register(ctx, "/service-discovery", instance)
//	if err != nil { … }
//
//	registration.Claim(term) // in IsLeader of an election's listener
//	registration.Disclaim()  // in NotLeader
//
// Other processes follow the registry. [Registry.Watch] yields all instances now and after
// every change, [Decode] reads one of them, and [Newest] finds the leader's:
//
//	for entries, err := range registry.Watch(ctx, "/service-discovery/bookService") { … }
//
// The registration and the candidate of a process end together, because they belong to one
// session. But the registry may name two leaders for a moment: [Newest] says why, and which
// of them is right.
//
// The package imports election, the driver (go-zookeeper/zk) and the standard library, and
// nothing else.
package discovery
