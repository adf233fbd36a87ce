package znode

import (
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPackWritesOneReadableLine(t *testing.T) {
	for _, c := range []struct {
		id       string
		metadata map[string]string
		want     string
	}{
		{"worker-1", nil, "worker-1"},
		{"größe 100% /a?b\n", nil, "größe 100% /a?b\n"},
		{"worker-1", map[string]string{"zone": "eu west", "address": "10.0.0.7:8080"}, "worker-1?address=10.0.0.7:8080&zone=eu%20west"},
		{"a/b", map[string]string{"url": "http://h/x?y=1&z"}, "a%2Fb?url=http://h/x%3Fy%3D1%26z"},
		{"ü?\n", map[string]string{"k": ""}, "%C3%BC%3F%0A?k="},
		{"", map[string]string{"k": "+"}, "?k=%2B"},
		{"host?x=1", nil, "host%3Fx%3D1?"},
		{"host%3Fx?", nil, "host%253Fx%3F?"},
	} {
		got := Pack(c.id, c.metadata)
		assert.Equal(t, c.want, got)
		id, metadata := Unpack(got)
		assert.Equal(t, c.id, id)
		assert.Equal(t, c.metadata, metadata)
	}
}

// What others write is an ID as it stands, unless it is exactly of our form.
func TestForeignDataIsAnID(t *testing.T) {
	for _, data := range []string{"", "?", "host?", "host?x", "host?=1", "host?x=1&", "host?&x=1", "host?x=1&x=2", "host?y=1&x=2",
		"host?x=1?y", "host?x=a b", "host?x=1&y", "a%zz?b=1", "a%3f?b=1", "a%41?b=1", "a%?b=1", "a%3?b=1", "http://h/?q=1",
		"host?x=%2F", "host?x=1;y=2", "host?x=a+b", "host?x==", "host\n?x=1", `{"id":"a?b=1"}`, "\xff?x=1"} {
		id, metadata := Unpack(data)
		assert.Equal(t, data, id)
		assert.Nil(t, metadata, data)
		assert.Equal(t, data, Pack(data, nil), "as it stands")
	}
}

func FuzzMetadata(f *testing.F) {
	for _, s := range []string{"", "worker-1", "host?x", "host?x=1", "host%3Fx=1?", "a%zz?b", "http://h/?q=1", "host?a=1&b=%20", "ü?&=%"} {
		f.Add(s, "zone", s, s, "address")
	}
	f.Fuzz(func(t *testing.T, id, k1, v1, k2, v2 string) {
		// What is written comes back, whatever it is.
		metadata := map[string]string{k1: v1, k2: v2}
		delete(metadata, "")
		for _, m := range []map[string]string{nil, metadata} {
			data := Pack(id, m)
			gotID, got := Unpack(data)
			require.Equal(t, id, gotID, data)
			require.True(t, maps.Equal(m, got), "%q: %v", data, got)
			if len(m) > 0 {
				requireURL(t, data, id, m)
			}
		}

		// What is read is an ID as it stands, or is of our form, and then it would be
		// written in the same way.
		gotID, got := Unpack(id)
		require.False(t, got != nil && len(got) == 0)
		if got != nil {
			require.Equal(t, id, Pack(gotID, got))
		} else if gotID != id {
			require.True(t, strings.HasSuffix(id, "?"), id)
		}
	})
}

// requireURL has net/url read data.
func requireURL(t *testing.T, data, id string, metadata map[string]string) {
	head, pairs, _ := strings.Cut(data, "?")
	got, err := url.PathUnescape(head)
	require.NoError(t, err)
	require.Equal(t, id, got)
	values, err := url.ParseQuery(pairs)
	require.NoError(t, err)
	require.Len(t, values, len(metadata))
	for k, v := range metadata {
		require.Equal(t, []string{v}, values[k])
	}
}
