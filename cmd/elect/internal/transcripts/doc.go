// Package transcripts tests the command elect as its users see it. The scripts in testdata,
// and the sessions in docs/operating.md, run the real binary on a ZooKeeper in memory. They
// are written in the language of testscript, with the commands of commands_test.go.
package transcripts
