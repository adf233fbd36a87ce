module github.com/zkelection/election/examples/recipes

go 1.25.0

require (
	github.com/robfig/cron/v3 v3.0.1
	github.com/stretchr/testify v1.12.1
	github.com/zkelection/election v0.1.0
	golang.org/x/sync v0.22.0
)

require (
	github.com/go-zookeeper/zk v1.0.4 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)
