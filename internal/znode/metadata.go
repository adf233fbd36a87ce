package znode

import (
	"maps"
	"slices"
	"strings"
)

// What a candidate's znode holds: its ID, and its metadata if it has any.
//
//	worker-1                                          the ID alone, as Curator and Kazoo read and write it
//	worker-1?address=10.0.0.7:8080&zone=eu%20west     the ID, '?', and pairs, sorted by key
//	worker%3Fa=1?                                     the ID "worker?a=1" alone
//
// With a '?' behind the ID, the ID and all keys and values are percent-encoded. Letters,
// digits and -_.~:@ stand for themselves, and so does / in keys and values. All other
// bytes become %XX, in capitals. So it is one line of ASCII, any decoder of URLs reads
// it, and equal metadata gives equal data. The set of characters is fixed here and not
// taken from net/url, whose choice might change: candidates of two releases have to write
// and read the same.
//
// Data of exactly that form is ours, and all other data is an ID as it stands: "host?x"
// (no pair), "a%zz?b=1" (no encoding) or "http://h/?q=1" (an ID would have no plain /).
// The ID alone is written as it stands, unless it is of that form itself. Then it is
// encoded, with nothing behind the '?'.
const (
	inID    = "-_.~:@"
	inPairs = inID + "/"
)

// Pack returns what a znode holds for an ID and its metadata. [Unpack] returns the two
// again. No key may be empty.
func Pack(id string, metadata map[string]string) string {
	if len(metadata) == 0 {
		if _, _, packed := unpack(id); !packed {
			return id
		}
	}

	var b strings.Builder
	encode(&b, id, inID)
	separator := byte('?')
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		b.WriteByte(separator)
		encode(&b, key, inPairs)
		b.WriteByte('=')
		encode(&b, metadata[key], inPairs)
		separator = '&'
	}
	if len(metadata) == 0 {
		b.WriteByte(separator)
	}
	return b.String()
}

// Unpack returns the ID and the metadata that a znode holds. metadata is nil if there is
// none. Data that [Pack] would not have written is an ID.
func Unpack(data string) (id string, metadata map[string]string) {
	if id, metadata, ok := unpack(data); ok {
		return id, metadata
	}
	return data, nil
}

// unpack reads data that is of our form, with a '?'. ok is false if it is not.
func unpack(data string) (id string, metadata map[string]string, ok bool) {
	head, pairs, found := strings.Cut(data, "?")
	if id, ok = decode(head, inID); !ok || !found {
		return "", nil, false
	}
	if pairs == "" { // only an ID that holds a '?' may need that
		return id, nil, strings.Contains(id, "?")
	}

	metadata = map[string]string{}
	last := "" // keys come sorted, and none is empty
	for pair := range strings.SplitSeq(pairs, "&") {
		k, v, found := strings.Cut(pair, "=")
		key, plainKey := decode(k, inPairs)
		value, plainValue := decode(v, inPairs)
		if !found || !plainKey || !plainValue || key <= last {
			return "", nil, false
		}
		metadata[key], last = value, key
	}
	return id, metadata, true
}

// encode writes s to b, with %XX for all bytes but letters, digits and those in plain.
func encode(b *strings.Builder, s, plain string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; isPlain(c, plain) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
}

func isPlain(c byte, plain string) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(plain, c) >= 0
}

// decode undoes encode. ok is false if encode would not have written s.
func decode(s, plain string) (text string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case isPlain(c, plain):
		case c != '%' || len(s)-i < 3:
			return "", false
		default:
			high, low := digit(s[i+1]), digit(s[i+2])
			if c = byte(high<<4 | low); high < 0 || low < 0 || isPlain(c, plain) {
				return "", false
			}
			i += 2
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

// digit is the value of a hexadecimal digit, or -1.
func digit(c byte) int { return strings.IndexByte("0123456789ABCDEF", c) }
