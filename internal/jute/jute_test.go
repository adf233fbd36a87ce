package jute_test

import (
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zkelection/election/internal/jute"
)

// record writes one field of each kind.
func record() []byte {
	e := jute.NewEncoder()
	e.ReplyHeader(7, 1<<40, jute.CodeNoNode)
	e.Bool(true)
	e.Bytes(nil)
	e.Bytes([]byte{})
	e.Text("größe")
	e.Texts([]string{"a", ""})
	e.ACLs(zk.WorldACL(zk.PermAll))
	e.MultiHeader(jute.MultiHeader{Op: jute.OpCreate, Code: jute.CodeNotEmpty})
	e.MultiEnd()
	return e.Frame()
}

func TestDecoderReadsWhatEncoderWrites(t *testing.T) {
	b := record()
	d := jute.Decoder{B: b}
	require.EqualValues(t, len(b)-4, d.Int32(), "the length of the frame")
	require.EqualValues(t, 7, d.Int32())
	require.Equal(t, int64(1)<<40, d.Int64())
	require.Equal(t, jute.CodeNoNode, jute.Code(d.Int32()))
	require.True(t, d.Bool())
	require.Nil(t, d.Bytes())
	require.Equal(t, []byte{}, d.Bytes())
	require.Equal(t, "größe", d.Text())
	require.Equal(t, []string{"a", ""}, d.Texts())
	require.Equal(t, zk.WorldACL(zk.PermAll), d.ACLs())
	require.Equal(t, jute.MultiHeader{Op: jute.OpCreate, Code: jute.CodeNotEmpty}, d.MultiHeader())
	require.True(t, d.MultiHeader().Done)
	require.NoError(t, d.Err)
	require.Empty(t, d.B)
}

func TestAStatTakesStatSizeBytes(t *testing.T) {
	e := jute.NewEncoder()
	e.Stat(zk.Stat{})
	require.Len(t, e.Frame(), 4+jute.StatSize)
}

func TestARecordThatIsCutShortIsAnError(t *testing.T) {
	whole := record()[4:]
	for n := range whole {
		d := jute.Decoder{B: whole[:n]}
		d.Int32()
		d.Int64()
		d.Int32()
		d.Bool()
		d.Bytes()
		d.Bytes()
		d.Text()
		d.Texts()
		d.ACLs()
		d.MultiHeader()
		d.MultiHeader()
		require.ErrorIs(t, d.Err, jute.ErrShort, "%d bytes", n)
	}
}

func TestAWildCountMakesNoRoom(t *testing.T) {
	e := jute.NewEncoder()
	e.Int32(1 << 30)
	d := jute.Decoder{B: e.Frame()[4:]}
	require.Empty(t, d.Texts())
	require.ErrorIs(t, d.Err, jute.ErrShort)
}

func TestOperationsAndCodesHaveNames(t *testing.T) {
	assert.Equal(t, "getChildren2", jute.OpGetChildren2.String())
	assert.Equal(t, "operation 99", jute.Op(99).String())
	assert.EqualError(t, jute.CodeThrottled,
		"zookeeper: THROTTLEDOP (-127): the server is overloaded and did not carry out the request")
	assert.True(t, jute.CodeThrottled.Known())
	assert.EqualError(t, jute.Code(7), "zookeeper: the unknown error code 7")
	assert.False(t, jute.Code(7).Known())
}
