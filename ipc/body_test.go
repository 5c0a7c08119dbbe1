package ipc

import (
	"strings"
	"testing"
)

// One decoder takes one text after another, and none of them sees another.
func TestDecodeStrict(t *testing.T) {
	leaks(t)
	type in struct {
		A int
		B string
	}
	for range 3 {
		for _, tc := range []struct {
			text string
			want in
			ok   bool
		}{
			{`{"a":1,"b":"x"}`, in{1, "x"}, true},
			{" \n{\"a\":2} \t\n\n", in{A: 2}, true},
			{`{}`, in{}, true},
			{``, in{}, true},
			{`null`, in{}, true},
			{`{"b":"` + strings.Repeat("y", 100000) + `"}`, in{B: strings.Repeat("y", 100000)}, true},
			{`{"a":1,"c":1}`, in{}, false},
			{`{"a":1}{"a":2}`, in{}, false},
			{`{"a":1} x`, in{}, false},
			{`{"a":1`, in{}, false},
			{`{"a":"x"}`, in{}, false},
			{`7`, in{}, false},
			{` `, in{}, false},
			{`}`, in{}, false},
		} {
			var got in
			err := decodeStrict([]byte(tc.text), &got)
			if (err == nil) != tc.ok || tc.ok && got != tc.want {
				t.Errorf("%.40q: %.40v, %v", tc.text, got, err)
			}
		}
		for _, text := range []string{"1", "23", "-4"} { // nothing but a newline ends them
			var n int
			if err := decodeStrict([]byte(text), &n); err != nil || n == 0 {
				t.Errorf("%s: %d, %v", text, n, err)
			}
		}
	}
}
