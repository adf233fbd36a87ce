package cli

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"time"

	"github.com/zkelection/election"
)

// Flags are those of every command.
type Flags struct {
	ZK      string        `name:"zk" env:"ZOOKEEPER_CONNECTION_STRING" default:"127.0.0.1:2181" placeholder:"HOST:PORT,…/CHROOT" help:"Servers of the ensemble, and the chroot if there is one." group:"ZooKeeper"`
	Session time.Duration `env:"ELECT_SESSION" default:"10s" placeholder:"10s" help:"Session timeout to ask for. The servers grant 2 to 20 of their ticks." group:"ZooKeeper"`
	Timeout time.Duration `env:"ELECT_TIMEOUT" default:"10s" placeholder:"10s" help:"How long to wait for ZooKeeper." group:"ZooKeeper"`

	TLS           bool   `name:"tls" env:"ELECT_TLS" help:"Encrypt the connection. The other --tls flags imply it." group:"ZooKeeper"`
	TLSCA         string `name:"tls-ca" env:"ELECT_TLS_CA" placeholder:"FILE" predictor:"file" help:"Certificates of the authorities to trust (PEM), in place of the system's." group:"ZooKeeper"`
	TLSCert       string `name:"tls-cert" env:"ELECT_TLS_CERT" placeholder:"FILE" predictor:"file" help:"Certificate of this client (PEM)." group:"ZooKeeper"`
	TLSKey        string `name:"tls-key" env:"ELECT_TLS_KEY" placeholder:"FILE" predictor:"file" help:"Its private key (PEM)." group:"ZooKeeper"`
	TLSServerName string `name:"tls-server-name" env:"ELECT_TLS_SERVER_NAME" placeholder:"NAME" help:"Name in the servers' certificates, if it is not the host's." group:"ZooKeeper"`

	AuthFile string `env:"ELECT_AUTH_FILE" placeholder:"FILE" predictor:"file" help:"File with a line SCHEME:CREDENTIAL for each credential, such as digest:user:password. Without it, the lines of ELECT_AUTH count." group:"ZooKeeper"`

	Verbose bool        `short:"v" help:"Log what happens, and not only what needs attention."`
	Version versionFlag `help:"Print the version and exit."`
}

// options are the client options that the flags ask for.
func (f *Flags) options() ([]election.ClientOption, error) {
	if f.Timeout <= 0 {
		return nil, Usagef("--timeout %v is not positive", f.Timeout)
	}
	opts := []election.ClientOption{election.WithSessionTimeout(f.Session)}
	config, err := f.tlsConfig()
	if err != nil {
		return nil, err
	}
	if config != nil {
		opts = append(opts, election.WithTLS(config))
	}
	creds, err := f.credentials()
	if err != nil {
		return nil, err
	}
	for _, c := range creds {
		opts = append(opts, election.WithAuth(c.scheme, []byte(c.secret)))
	}
	return opts, nil
}

// tlsConfig returns nil if no flag asks for TLS.
func (f *Flags) tlsConfig() (*tls.Config, error) {
	if !f.TLS && f.TLSCA == "" && f.TLSCert == "" && f.TLSKey == "" && f.TLSServerName == "" {
		return nil, nil
	}
	config := &tls.Config{ServerName: f.TLSServerName, MinVersion: tls.VersionTLS12}
	if f.TLSCA != "" {
		pem, err := os.ReadFile(f.TLSCA)
		if err != nil {
			return nil, Usagef("--tls-ca: %v", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, Usagef("--tls-ca: %s has no certificate in PEM form", f.TLSCA)
		}
	}
	if (f.TLSCert == "") != (f.TLSKey == "") {
		return nil, Usagef("--tls-cert and --tls-key go together: give both or none")
	}
	if f.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(f.TLSCert, f.TLSKey)
		if err != nil {
			return nil, Usagef("--tls-cert %s, --tls-key %s: %v", f.TLSCert, f.TLSKey, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

type credential struct{ scheme, secret string }

// envAuth holds credentials. They are never on the command line, which every user of the
// machine can read.
const envAuth = "ELECT_AUTH"

// credentials reads them from the file or the environment. No error shows a secret.
func (f *Flags) credentials() (all []credential, err error) {
	lines, from := os.Getenv(envAuth), envAuth
	if f.AuthFile != "" {
		b, err := os.ReadFile(f.AuthFile)
		if err != nil {
			return nil, Usagef("--auth-file: %v", err)
		}
		lines, from = string(b), "--auth-file "+f.AuthFile
	}
	for i, line := range strings.Split(lines, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		scheme, secret, found := strings.Cut(line, ":")
		if !found || scheme == "" {
			return nil, Usagef("%s: line %d is not SCHEME:CREDENTIAL, such as digest:user:password", from, i+1)
		}
		all = append(all, credential{scheme, secret})
	}
	if f.AuthFile != "" && len(all) == 0 {
		return nil, Usagef("--auth-file: %s has no credential", f.AuthFile)
	}
	return all, nil
}
