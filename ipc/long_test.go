package ipc

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

type longInner struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

type longOuter struct {
	Text   string `json:"text"`
	Inner  longInner
	More   []string `json:"more"`
	At     time.Time
	On     bool
	Rate   *float64
	Lost   string `json:"-"`
	Tag    json.RawMessage
	hidden int
	Last   string `json:"last"`
}

// texts are strings of every kind, around the length from which they are treated
// apart.
func texts() []string {
	var all []string
	for _, odd := range []string{"", "\"", "\\", "\x00", "\x1f", "\x7f", " ", "é", "\u2028", "\u2029", "\ufffd", "\U0001f600", "\xff", "\xc3", "<&>", "\n"} {
		for _, n := range []int{0, longText - 9, longText, longText + 7, 5000} {
			for _, at := range []int{0, n / 2, n} {
				all = append(all, strings.Repeat("x", at)+odd+strings.Repeat("y", n-at))
			}
		}
	}
	return all
}

// What is written for long strings is what encoding/json writes, and what is read
// is what it reads.
func TestLongTextIsAsEncodingJSONHasIt(t *testing.T) {
	leaks(t)
	for _, s := range texts() {
		v := longOuter{Text: s, Inner: longInner{s, -3}, More: []string{s}, At: time.Unix(1, 2).UTC(), Tag: json.RawMessage("[1]"), Last: s, Lost: "l", hidden: 7}
		for _, v := range []any{v, &v, v.Inner, struct{ A string }{s}, struct {
			A string `json:"a,omitempty"`
		}{s}, struct{ longInner }{v.Inner}, map[string]string{"a": s}, s} {
			var want bytes.Buffer
			e := json.NewEncoder(&want)
			e.SetEscapeHTML(false)
			if err := e.Encode(v); err != nil {
				t.Fatal(err)
			}
			m := newMessage()
			if err := m.add(v); err != nil || string(m.buf[headerSize:])+"\n" != want.String() {
				t.Fatalf("%T of %.20q: %v\n%.100s\n%.100s", v, s, err, m.buf[headerSize:], want.Bytes())
			}
			agree(t, m.buf[headerSize:], reflect.Indirect(reflect.ValueOf(v)).Type())
			m.free()
		}
	}
}

// agree decodes a text in both ways.
func agree(t *testing.T, b []byte, typ reflect.Type) {
	t.Helper()
	got, want := reflect.New(typ), reflect.New(typ)
	if !decodeLong(b, got.Interface()) {
		return
	}
	if err := json.Unmarshal(b, want.Interface()); err != nil || !reflect.DeepEqual(got.Interface(), want.Interface()) {
		t.Errorf("%.200q as %v\ngot  %+v\nwant %+v, %v", b, typ, got.Elem(), want.Elem(), err)
	}
	if err := checkExact(b); err != nil {
		t.Errorf("%.200q: %v", b, err)
	}
}

// It is used at all.
func TestLongTextIsTreatedApart(t *testing.T) {
	leaks(t)
	s := strings.Repeat("é", longText)
	b, err := json.Marshal(longInner{s, 7})
	if err != nil {
		t.Fatal(err)
	}
	var got longInner
	if !decodeLong(b, &got) || got.Name != s || got.Count != 7 {
		t.Errorf("%+v", got)
	}
	m := newMessage()
	defer m.free()
	if done, err := m.addLong(longInner{s, 7}); !done || err != nil || !bytes.Equal(m.buf[headerSize:], b) {
		t.Errorf("%v, %v", done, err)
	}
	for _, text := range []string{`{"name":"` + s, `{"name":"` + s + `"`, `{"name":"` + s + `",}`, `{"name":"` + s + `"}}`, `{"name":"` + s + `"} `,
		`{"Name":"` + s + `"}`, `{"name":"` + s + `","other":1}`, `{"name":"` + s + `","count":1x}`, `{"name":"` + s + `","count":}`, `{"name":["` + s + `"]}`, `{"name" :"` + s + `"}`} {
		if decodeLong([]byte(text), &got) {
			t.Errorf("%.20s…%s", text, text[len(s):])
		}
	}
}

// FuzzLongText decodes anything in both ways. Blanks make it long enough.
func FuzzLongText(f *testing.F) {
	leaks(f)
	for _, s := range []string{`{"name":"*","count":1}`, `{"text":"*","Inner":{"name":"*","count":-0},"More":null,"On":true,"last":"*"}`, `{"name":"*","name":null}`,
		`{"name":"*\u00e9","count":1e3}`, `{"count":"*"}`, `{}`, `{"Inner":{}}`, `{"name":"*","count":1.5}`} {
		f.Add([]byte(s))
	}
	pad := bytes.Repeat([]byte(" "), longText)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.ReplaceAll(b, []byte("*"), pad)
		for _, typ := range []reflect.Type{reflect.TypeFor[longInner](), reflect.TypeFor[longOuter]()} {
			agree(t, b, typ)
		}
	})
}
