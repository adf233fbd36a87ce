package queue

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzRequest reads what anybody may have written beside an election. What is read as a
// request comes back as it was when it is written, and a request that is made is read as it
// was made.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"by":"x","what":"resign","token":"0x1f"}`), "x", "resign", int64(31), "")
	f.Add([]byte(`{"what":"hand-over","token":"0xffffffffffffffff","to":"worker-2","answer":"taken"}`), "y", "hand-over", int64(-1), "worker-2")
	f.Add([]byte(`{"what":"resign","token":31}`), "", "", int64(0), "\u2028<&>")
	f.Add([]byte(`[1e999]`), "", "stop", int64(1), "")
	f.Fuzz(func(t *testing.T, data []byte, by, what string, token int64, to string) {
		read := DecodeRequest(data)
		require.Equal(t, read, DecodeRequest(read.encode()))
		if len(data) > 2*maxRequest {
			require.Zero(t, read)
		}

		made := Request{By: by, What: what, Token: token, To: to}
		if !utf8.ValidString(by+"\x00"+what+"\x00"+to) || made.TooLong() {
			return // JSON holds no other text
		}
		require.Equal(t, made, DecodeRequest(made.encode()))
	})
}
