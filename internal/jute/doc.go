// Package jute has the words of ZooKeeper's wire protocol: the numbers of operations
// ([Op]), error codes ([Code]), and the encoding of records, which ZooKeeper calls jute
// ([Decoder], [Encoder]). It does no I/O.
package jute
