// Command quickstart shows an election in a few seconds: three candidates, a leader, its
// crash, its successor. It shows that twice: without fast failover, and with it.
//
//	go run ./examples/quickstart
//
// It needs only Go. It uses the ensemble that ZOOKEEPER_CONNECTION_STRING names, or else
// one in memory. The candidates run the program in the folder app, which is the one to
// take home.
package main

import "github.com/zkelection/election/examples/internal/demo"

func main() { demo.Main(show) }
