package znode

import (
	"strconv"
	"strings"
	"time"
)

// Reserved is how the keys of metadata begin that the library uses itself.
const Reserved = "election."

// keyWithin is the key of how long the candidate may be silent, in milliseconds: see
// package beat.
const keyWithin = Reserved + "failover-ms"

// SetWithin adds to the metadata how long a candidate may be silent before the next in
// line replaces it.
func SetWithin(metadata map[string]string, within time.Duration) {
	metadata[keyWithin] = strconv.FormatInt(within.Milliseconds(), 10)
}

// Within returns how long a candidate may be silent, by what its znode holds, or 0 if that
// says nothing.
func Within(data string) time.Duration {
	if !strings.Contains(data, keyWithin) { // which spares most of the decoding
		return 0
	}
	_, metadata := Unpack(data)
	ms, err := strconv.ParseUint(metadata[keyWithin], 10, 32)
	if err != nil {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// Kind returns the part of a name template between the UUID and the counter. Names of
// another kind do not hold it.
func Kind(template string) string { return template[strings.LastIndexByte(template, '}')+1:] }
