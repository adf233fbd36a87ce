package election

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// fill returns a trace whose functions call called with their name and a tag.
func fill(tag string, called func(string)) Trace {
	var t Trace
	v := reflect.ValueOf(&t).Elem()
	for i := range v.NumField() {
		name := tag + v.Type().Field(i).Name
		v.Field(i).Set(reflect.MakeFunc(v.Field(i).Type(), func([]reflect.Value) []reflect.Value {
			called(name)
			return nil
		}))
	}
	return t
}

// A function that a later version adds to Trace is not forgotten here.
func TestTwoTracesHaveEveryFunctionOfBoth(t *testing.T) {
	var calls []string
	note := func(name string) { calls = append(calls, name) }
	for _, c := range []struct {
		name string
		of   Trace
		want []string
	}{
		{"both", fill("a", note).and(fill("b", note)), []string{"a", "b"}},
		{"the first", fill("a", note).and(Trace{}), []string{"a"}},
		{"the second", Trace{}.and(fill("b", note)), []string{"b"}},
	} {
		v := reflect.ValueOf(c.of)
		for i := range v.NumField() {
			field := v.Type().Field(i)
			require.False(t, v.Field(i).IsNil(), "%s: %s", c.name, field.Name)
			calls = nil
			v.Field(i).Call([]reflect.Value{reflect.Zero(field.Type.In(0))})
			var want []string
			for _, tag := range c.want {
				want = append(want, tag+field.Name)
			}
			require.Equal(t, want, calls, c.name)
		}
	}
	require.True(t, reflect.ValueOf(Trace{}.and(Trace{})).IsZero(), "what neither has stays nil, and costs nothing")
}
