package jute_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
)

// fields are the fields that a record may have, by a letter, with how each is written again.
var fields = map[byte]func(*jute.Decoder, *jute.Encoder){
	'i': func(d *jute.Decoder, e *jute.Encoder) { e.Int32(d.Int32()) },
	'l': func(d *jute.Decoder, e *jute.Encoder) { e.Int64(d.Int64()) },
	'b': func(d *jute.Decoder, e *jute.Encoder) { e.Bool(d.Bool()) },
	'y': func(d *jute.Decoder, e *jute.Encoder) { e.Bytes(d.Bytes()) },
	't': func(d *jute.Decoder, e *jute.Encoder) { e.Text(d.Text()) },
	's': func(d *jute.Decoder, e *jute.Encoder) { e.Texts(d.Texts()) },
	'a': func(d *jute.Decoder, e *jute.Encoder) { e.ACLs(d.ACLs()) },
	'm': func(d *jute.Decoder, e *jute.Encoder) { e.MultiHeader(d.MultiHeader()) },
}

// again reads the fields named by shape from record and writes them again.
func again(shape string, record []byte) (written []byte, err error) {
	d, e := jute.Decoder{B: record}, jute.NewEncoder()
	for i := range len(shape) {
		if field, known := fields[shape[i]]; known {
			field(&d, e)
		}
	}
	return e.Record(), d.Err
}

// FuzzDecoder reads any bytes as a record of any fields. The decoder takes little memory for
// them, whatever lengths they claim, and what it has read comes back when it is written and
// read once more. (The first writing may differ: -2 and -1 both stand for no value.)
func FuzzDecoder(f *testing.F) {
	f.Add("ilibyytsamm", record()[4:])
	f.Add("s", []byte{0x40, 0, 0, 0})
	f.Add("a", []byte{0, 0, 0, 1, 0, 0, 0, 31, 0, 0, 0, 5, 'w', 'o', 'r', 'l', 'd', 0, 0, 0, 6, 'a', 'n', 'y', 'o', 'n', 'e'})
	f.Fuzz(func(t *testing.T, shape string, b []byte) {
		shape = shape[:min(len(shape), 64)]
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		first, err := again(shape, b)
		runtime.ReadMemStats(&after)
		require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(64*len(b)+1<<16), "allocated for %d bytes", len(b))
		if err != nil {
			require.ErrorIs(t, err, jute.ErrShort)
			return
		}

		second, err := again(shape, first)
		require.NoError(t, err)
		require.Equal(t, first, second)
	})
}
