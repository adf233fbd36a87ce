package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// etcd is a client with one session.
type etcd struct {
	session *concurrency.Session
}

func dialEtcd(addr string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{"http://" + addr}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
}

func connectEtcd(s peerSetup) (library, error) {
	client, err := dialEtcd(s.Server)
	if err != nil {
		return nil, err
	}
	session, err := concurrency.NewSession(client, concurrency.WithTTL(int(s.Timeout.Seconds())))
	return &etcd{session}, err
}

func (e *etcd) part(id, path string, n *note) part {
	return &etcdPart{e.session, concurrency.NewElection(e.session, path), id, n}
}

type etcdPart struct {
	session  *concurrency.Session
	election *concurrency.Election
	id       string
	note     *note
}

func (p *etcdPart) join() error {
	if err := p.election.Campaign(context.Background(), p.id); err != nil {
		return err
	}
	p.note.leads()
	go func() { // the documented way to hear of a loss
		<-p.session.Done()
		p.note.lost("Session.Done")
	}()
	return nil
}

func (p *etcdPart) leave() error { return p.election.Resign(context.Background()) }

// etcdEnv is the environment variable that makes this program serve as an etcd server:
// its folder and its two addresses.
const etcdEnv = "SIDEBYSIDE_ETCD"

// etcdMain runs a server until the input ends.
func etcdMain(folder, client, peer string) int {
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(folder, "etcd")
	cfg.LogLevel, cfg.LogOutputs = "error", []string{"stderr"}
	clientURL, peerURL := url.URL{Scheme: "http", Host: client}, url.URL{Scheme: "http", Host: peer}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{clientURL}, []url.URL{clientURL}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peerURL}, []url.URL{peerURL}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	<-server.Server.ReadyNotify()
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1)) // it ends with the process that started it
	server.Close()
	return 0
}
