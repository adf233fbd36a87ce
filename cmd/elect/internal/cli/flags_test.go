package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestCredentialsComeFromAFileOrTheEnvironment(t *testing.T) {
	t.Setenv(envAuth, "digest:user:from the environment")
	got, err := (&Flags{}).credentials()
	require.NoError(t, err)
	require.Equal(t, []credential{{"digest", "user:from the environment"}}, got)

	f := &Flags{AuthFile: file(t, "# a comment\n\ndigest:user:pass#word\r\nip:\n")}
	got, err = f.credentials()
	require.NoError(t, err)
	require.Equal(t, []credential{{"digest", "user:pass#word"}, {"ip", ""}}, got)
}

func TestAWrongCredentialIsNamedAndNotShown(t *testing.T) {
	t.Setenv(envAuth, "digest:user:secret\nsecret")
	_, err := (&Flags{}).credentials()
	require.EqualError(t, err, "ELECT_AUTH: line 2 is not SCHEME:CREDENTIAL, such as digest:user:password")
	require.Equal(t, Usage, code(err))

	f := &Flags{AuthFile: file(t, "secret")}
	_, err = f.credentials()
	require.EqualError(t, err, "--auth-file "+f.AuthFile+": line 1 is not SCHEME:CREDENTIAL, such as digest:user:password")

	f = &Flags{AuthFile: file(t, "\n# nothing\n")}
	_, err = f.credentials()
	require.EqualError(t, err, "--auth-file: "+f.AuthFile+" has no credential")
}

func TestAnyTLSFlagAsksForTLS(t *testing.T) {
	config, err := (&Flags{}).tlsConfig()
	require.NoError(t, err)
	require.Nil(t, config)

	config, err = (&Flags{TLS: true}).tlsConfig()
	require.NoError(t, err)
	require.NotNil(t, config)

	config, err = (&Flags{TLSServerName: "zk"}).tlsConfig()
	require.NoError(t, err)
	require.Equal(t, "zk", config.ServerName)
}

func TestWrongTLSFlagsAreNamed(t *testing.T) {
	for want, f := range map[string]*Flags{
		"--tls-ca: open no-such-file":                          {TLSCA: "no-such-file"},
		"has no certificate in PEM form":                       {TLSCA: file(t, "no certificate")},
		"--tls-cert and --tls-key go together":                 {TLSCert: "a"},
		"--tls-cert no-such-cert, --tls-key no-such-key: open": {TLSCert: "no-such-cert", TLSKey: "no-such-key"},
	} {
		_, err := f.tlsConfig()
		require.ErrorContains(t, err, want)
		require.Equal(t, Usage, code(err))
	}
}

func TestAnErrorIsOneLineAndAnExitCode(t *testing.T) {
	require.Equal(t, "a b: c", (&Error{What: "a\nb", Do: "c"}).Error())
	require.Equal(t, Failed, code(os.ErrNotExist))
	require.Equal(t, 0, code(nil))
	require.Equal(t, 3, code(Exit(3)))
}
