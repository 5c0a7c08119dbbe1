package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

type Inner struct {
	Dir string `json:"dir"`
}

type words struct {
	*Inner
	Args  []string          `json:"args"`
	Env   map[string]string `json:"env,omitempty"`
	Any   any               `json:",omitempty"`
	Raw   []byte            `json:"raw,omitempty"`
	More  *[]words          `json:"more,omitempty"`
	At    time.Time         `json:"at,omitzero"`
	Addr  netip.Addr        `json:"addr,omitzero"`
	Lost  string            `json:"-"`
	local string
}

// What JSON would change is refused before it is sent, by name. All else arrives
// as it was.
func TestTextIsExactOrRefused(t *testing.T) {
	var calls atomic.Int32
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) {
		calls.Add(1)
		var in any
		err := r.Decode(&in)
		return in, nil, err
	})
	good := words{Inner: &Inner{"/\ufffd"}, Args: []string{"é", `\ufffd`, `\\ufffd`, "\u2028\x00\x7f", "\U0001f600", ""}, Raw: []byte{0xff},
		Env: map[string]string{"\ufffd": "x"}, Lost: "\xff", local: "\xff", At: time.Unix(1, 0), Addr: netip.MustParseAddr("fd00::1")}
	var got words
	if _, err := c.Call(limited(t), "A.B", good, nil, &got); err != nil || got.Dir != good.Dir ||
		strings.Join(got.Args, "|") != strings.Join(good.Args, "|") || string(got.Raw) != "\xff" || got.Env["\ufffd"] != "x" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, tc := range []struct {
		in   any
		want string
	}{
		{words{Args: []string{"a", "caf\xe9"}}, `args[1] "caf\xe9" is not UTF-8`},
		{words{Inner: &Inner{"/\xff"}}, `dir "/\xff" is not UTF-8`},
		{words{Env: map[string]string{"A": "\xc3"}}, `env[A] "\xc3" is not UTF-8`},
		{words{Env: map[string]string{"\xc3": "A"}}, `env "\xc3" is not UTF-8`},
		{words{More: &[]words{{}, {Args: []string{"\xed\xa0\x80"}}}}, `more[1].args[0] "\xed\xa0\x80" is not UTF-8`},
		{words{Any: []any{1, "\x80\ufffd"}}, "Any[1] \"\\x80\ufffd\" is not UTF-8"},
		{map[string]any{"spec": &Inner{"\xfe"}}, `[spec].dir "\xfe" is not UTF-8`},
		{"\xff", `"\xff" is not UTF-8`},
	} {
		calls.Store(0)
		_, err := c.Call(limited(t), "A.B", tc.in, nil, nil)
		if !errors.Is(err, fs.ErrInvalid) || err.Error() != tc.want || calls.Load() != 0 {
			t.Errorf("got  %v, %d calls\nwant %s", err, calls.Load(), tc.want)
		}
		if err := CheckText(tc.in); err == nil || err.Error() != tc.want {
			t.Errorf("CheckText: %v, want %s", err, tc.want)
		}
	}
	if err := CheckText(good); err != nil {
		t.Error(err)
	}
}

// A client in another language is not trusted to have looked.
func TestTextOfForeignClients(t *testing.T) {
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) {
		var in any
		err := r.Decode(&in)
		return in, nil, err
	})
	for _, text := range []string{`"a\ud83d\ude00b"`, `"\\ud83d"`, `"\\\\"`, `"\u00e9\n\"é"`, `["\uD83D\uDE00\ud83d\ude00"]`, `"` + "\ufffd" + `\ufffd"`} {
		var want, got any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Call(limited(t), "A.B", json.RawMessage(text), nil, &got); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if a, b := mustJSON(t, got), mustJSON(t, want); a != b {
			t.Errorf("%s: %s, want %s", text, a, b)
		}
	}
	for _, text := range []string{`"\ud83d"`, `"\udc00"`, `"\ud83d\ud83d"`, `"\ud83dx\ude00"`, `"\ud83d\\ude00"`, `{"\udfff":1}`, `"\ud83d\n"`} {
		if _, err := c.Call(limited(t), "A.B", json.RawMessage(text), nil, nil); CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), "half a surrogate pair") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := (&Request{Method: "A.B", Params: []byte("\"\xff\"")}).Decode(new(string)); CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), "not UTF-8") {
		t.Error(err)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A result is never refused for its text.
func TestTextOfResults(t *testing.T) {
	c := client(t, func(_ context.Context, r *Request) (any, []*os.File, error) {
		return "caf\xe9", nil, r.Emit("\xff")
	})
	var item, out string
	if _, err := c.Stream(limited(t), "A.B", nil, nil, func(raw []byte, _ []*os.File) error { return DecodeItem(raw, &item) }, &out); err != nil ||
		item != "\ufffd" || out != "caf\ufffd" {
		t.Errorf("%q, %q, %v", item, out, err)
	}
}

// FuzzText compares with what encoding/json makes of a text: it is exact if
// encoding what was decoded leads to the same again, byte for byte of the strings.
func FuzzText(f *testing.F) {
	leaks(f)
	for _, s := range []string{"a", "\xff", `\ud83d`, `\ud83d\ude00`, `\\ud83d`, "\ufffd", `\ufffd`, `\"\ud800\u0041`} {
		f.Add([]byte(`"` + s + `"`))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s string
		if json.Unmarshal(b, &s) != nil {
			return
		}
		// U+FFFD that the text does not spell was put there.
		spelled := strings.Count(string(b), "\ufffd") + strings.Count(strings.ToLower(strings.ReplaceAll(string(b), `\\`, "")), `\ufffd`)
		if exact := checkExact(b) == nil; exact != (strings.Count(s, "\ufffd") == spelled) {
			t.Errorf("%q is %q: exact %v", b, s, exact)
		}
	})
}
