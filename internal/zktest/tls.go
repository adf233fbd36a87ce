package zktest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strconv"
	"time"
)

// TLS is the server's identity for WithTLS, all in PEM.
type TLS struct {
	Cert     []byte // the certificate, and any intermediate ones after it
	Key      []byte // its private key, PKCS #8
	ClientCA []byte // who signs clients' certificates; when empty, clients need none
}

// WithTLS opens a second client port that speaks TLS, at SecureAddr. Both ports
// are then served by Netty, which is ZooKeeper's only way to do TLS.
func WithTLS(id TLS) Option {
	return func(s *settings) {
		s.tls = &id
		s.config["secureClientPort"] = strconv.Itoa(securePort)
		s.config["serverCnxnFactory"] = "org.apache.zookeeper.server.NettyServerCnxnFactory"
		s.config["ssl.keyStore.location"] = confDir + "/server.pem"
		s.files["server.pem"] = string(slices.Concat(id.Key, id.Cert))
		s.config["ssl.clientAuth"] = "none"
		if len(id.ClientCA) > 0 {
			s.config["ssl.clientAuth"] = "need"
			s.config["ssl.trustStore.location"] = confDir + "/clients.pem"
			s.files["clients.pem"] = string(id.ClientCA)
		}
	}
}

// NewTLS makes an identity for a server on hosts (names or addresses;
// 127.0.0.1 and localhost when none are given), and the configuration of a
// client that trusts it and shows it the certificate of the same authority.
// The server asks for that certificate when mutual is set. All of it lives in
// memory and for a day.
func NewTLS(mutual bool, hosts ...string) (TLS, *tls.Config, error) {
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1", "localhost"}
	}
	ca, err := newAuthority()
	if err != nil {
		return TLS{}, nil, err
	}
	cert, key, err := ca.issue("server", hosts)
	if err != nil {
		return TLS{}, nil, err
	}
	id := TLS{Cert: cert, Key: key}
	if mutual {
		id.ClientCA = ca.pem
	}
	client, err := ca.client()
	return id, client, err
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	pem  []byte
	key  *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
	template := certificate("zktest authority")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("zktest: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("zktest: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert: cert, pem: block("CERTIFICATE", der), key: key}, err
}

// certificate is what all of them have in common.
func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), // clocks differ
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// issue returns a certificate and its key in PEM.
func (a *authority) issue(name string, hosts []string) (cert, key []byte, err error) {
	template := certificate(name)
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("zktest: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("zktest: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	return block("CERTIFICATE", der), block("PRIVATE KEY", pkcs8), err
}

// client trusts what a signs, and has a certificate that a signed.
func (a *authority) client() (*tls.Config, error) {
	cert, key, err := a.issue("client", nil)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("zktest: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.pem) {
		return nil, errors.New("zktest: the authority's certificate does not parse")
	}
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

func block(kind string, der []byte) []byte {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}) // a Buffer takes all
	return b.Bytes()
}
