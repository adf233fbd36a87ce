package election

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
)

// hexID is an id as logs and JSON show it: "0x1f". A JSON number would not do: readers of
// JSON keep numbers as floating point, which loses digits above 2^53. In a log it is
// formatted only if the logger takes the line.
type hexID int64

func (id hexID) String() string { return fmt.Sprintf("%#x", uint64(id)) }

// LogValue is for package slog.
func (id hexID) LogValue() slog.Value { return slog.StringValue(id.String()) }

// MarshalText is for package json.
func (id hexID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is for package json.
func (id *hexID) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 0, 64)
	if err != nil {
		return fmt.Errorf("election: %.40q is no id: %w", text, err)
	}
	*id = hexID(n)
	return nil
}

// Each method below has a type without the method, so that package json takes all fields
// by their tags, and a field that hides the one that is written in another way.

// MarshalJSON writes p as its tags say, with the token as a string such as "0x1f".
func (p Participant) MarshalJSON() ([]byte, error) {
	type fields Participant
	return json.Marshal(struct {
		fields
		Token hexID `json:"token"`
	}{fields(p), hexID(p.Token)})
}

// UnmarshalJSON reads what MarshalJSON wrote. If that fails, p stays as it is.
func (p *Participant) UnmarshalJSON(text []byte) error {
	type fields Participant
	read := struct {
		fields
		Token hexID `json:"token"`
	}{fields(*p), hexID(p.Token)}
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*p = Participant(read.fields)
	p.Token = int64(read.Token)
	return nil
}

// MarshalJSON writes s as its tags say, with the token as a string such as "0x1f".
func (s Status) MarshalJSON() ([]byte, error) {
	type fields Status
	return json.Marshal(struct {
		fields
		Token hexID `json:"token,omitempty"`
	}{fields(s), hexID(s.Token)})
}

// UnmarshalJSON reads what MarshalJSON wrote. If that fails, s stays as it is.
func (s *Status) UnmarshalJSON(text []byte) error {
	type fields Status
	read := struct {
		fields
		Token hexID `json:"token"`
	}{fields(*s), hexID(s.Token)}
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*s = Status(read.fields)
	s.Token = int64(read.Token)
	return nil
}
