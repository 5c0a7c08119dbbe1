package ipc

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"
)

// encoding/json looks at every byte of a string several times, one by one: a text
// of 64 KiB costs half a millisecond on its way, ten times what the kernel takes
// to carry it. So long strings in plain structs are copied here, if JSON has them
// as they are. The rest of such a struct, and whatever is not as simple as this,
// is encoding/json's; the JSON is the same, byte for byte.

// longText is from where on a string is worth it, bytes.
const longText = 1 << 10

// shape is a struct type that is in JSON as the object of its fields, all of them
// and in order.
type shape []shapeField

type shapeField struct {
	index int
	key   string // with what is around it: `"text":`
	text  bool   // a string
	inner shape  // of a struct; nil for other types
}

var shapes sync.Map // by reflect.Type; nil for those that are not as simple

func shapeOf(t reflect.Type) shape {
	if s, ok := shapes.Load(t); ok {
		return s.(shape)
	}
	s := newShape(t)
	shapes.Store(t, s)
	return s
}

func newShape(t reflect.Type) shape {
	if t.Kind() != reflect.Struct || hasCodec(t) {
		return nil
	}
	s, seen := shape{}, map[string]bool{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		key, options, _ := strings.Cut(tag, ",")
		if key == "" {
			key = f.Name
		}
		switch folded := strings.ToLower(key); {
		case f.Anonymous || options != "":
			return nil
		case !f.IsExported() || tag == "-":
			continue
		case seen[folded] || strings.Trim(folded, "abcdefghijklmnopqrstuvwxyz0123456789_") != "":
			return nil
		default:
			seen[folded] = true
		}
		s = append(s, shapeField{i, `"` + key + `":`, isText(f.Type), shapeOf(f.Type)})
	}
	return s
}

var (
	marshalers   = []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()}
	unmarshalers = []reflect.Type{reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()}
)

// hasCodec tells types whose JSON is their own matter.
func hasCodec(t reflect.Type) bool { return encodesItself(t) || implements(t, unmarshalers) }

func encodesItself(t reflect.Type) bool { return implements(t, marshalers) }

// implements tells whether a value of t that has an address has the methods.
func implements(t reflect.Type, some []reflect.Type) bool {
	return slices.ContainsFunc(some, reflect.PointerTo(t).Implements)
}

func isText(t reflect.Type) bool {
	return t.Kind() == reflect.String && t != reflect.TypeFor[json.Number]() && !hasCodec(t)
}

// long tells that a struct has a long string.
func (s shape) long(v reflect.Value) bool {
	for _, f := range s {
		if f.text && v.Field(f.index).Len() >= longText || f.inner != nil && f.inner.long(v.Field(f.index)) {
			return true
		}
	}
	return false
}

// addLong appends v if it is worth it.
func (m *message) addLong(v any) (done bool, err error) {
	value := reflect.Indirect(reflect.ValueOf(v))
	if value.Kind() != reflect.Struct {
		return false, nil
	}
	s := shapeOf(value.Type())
	if !s.long(value) {
		return false, nil
	}
	return true, m.addObject(s, value)
}

func (m *message) addObject(s shape, v reflect.Value) error {
	m.buf = append(m.buf, '{')
	for i, f := range s {
		if i > 0 {
			m.buf = append(m.buf, ',')
		}
		m.buf = append(m.buf, f.key...)
		field := v.Field(f.index)
		if f.text && plainText(field.String()) {
			m.buf = append(m.buf, '"')
			m.buf = append(m.buf, field.String()...)
			m.buf = append(m.buf, '"')
			continue
		}
		err := error(nil)
		switch {
		case f.inner != nil:
			err = m.addObject(f.inner, field)
		case field.CanAddr(): // it may have methods of its pointer
			err = m.encode(field.Addr().Interface())
		default:
			err = m.encode(field.Interface())
		}
		if err != nil {
			return err
		}
	}
	m.buf = append(m.buf, '}')
	return nil
}

// decodeLong decodes b as encoding/json would, if it is as simple as addObject
// writes it. If not, encoding/json is still to do it, all of it.
func decodeLong(b []byte, v any) bool {
	value := reflect.ValueOf(v)
	if len(b) < longText || value.Kind() != reflect.Pointer || value.IsNil() {
		return false
	}
	s := shapeOf(value.Type().Elem())
	if s == nil {
		return false
	}
	rest, ok := s.decode(b, value.Elem())
	return ok && len(rest) == 0
}

func (s shape) decode(b []byte, v reflect.Value) (rest []byte, ok bool) {
	for first := byte('{'); ; first = ',' {
		if b, ok = bytes.CutPrefix(b, []byte{first}); !ok {
			b, ok = bytes.CutPrefix(b, []byte{'}'})
			return b, ok && first == ','
		}
		f := s.at(b)
		if f == nil {
			return nil, false
		}
		if b, ok = f.decode(b[len(f.key):], v.Field(f.index)); !ok {
			return nil, false
		}
	}
}

// at is the field whose key b begins with.
func (s shape) at(b []byte) *shapeField {
	for i := range s {
		if bytes.HasPrefix(b, []byte(s[i].key)) {
			return &s[i]
		}
	}
	return nil
}

func (f *shapeField) decode(b []byte, v reflect.Value) (rest []byte, ok bool) {
	switch {
	case len(b) == 0 || b[0] == '[':
		return nil, false
	case b[0] == '{':
		if f.inner == nil {
			return nil, false
		}
		return f.inner.decode(b, v)
	case b[0] != '"': // a number or a word
		end := bytes.IndexAny(b, ",}")
		if end < 0 || json.Unmarshal(b[:end], v.Addr().Interface()) != nil {
			return nil, false
		}
		return b[end:], true
	}
	b = b[1:]
	end := bytes.IndexByte(b, '"')
	if !f.text || end < 0 || !plain(b[:end]) {
		return nil, false
	}
	v.SetString(string(b[:end]))
	return b[end+1:], true
}

// plainText tells that encoding/json writes a string as it is.
func plainText(s string) bool {
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	return bytes.IndexByte(b, '"') < 0 && plain(b) && !strings.Contains(s, "\u2028") && !strings.Contains(s, "\u2029")
}

// plain tells that a JSON string without quotes is what it says: UTF-8, no control
// characters, no escapes. It looks at eight bytes at a time.
func plain(b []byte) bool {
	if bytes.IndexByte(b, '\\') >= 0 {
		return false
	}
	const each = 0x0101010101010101
	var low, all uint64 // the highest bit of a byte: one is below ' ', one is not ASCII
	rest := b
	for ; len(rest) >= 16; rest = rest[16:] {
		x, y := binary.LittleEndian.Uint64(rest), binary.LittleEndian.Uint64(rest[8:])
		low |= (x-each*' ')&^x | (y-each*' ')&^y
		all |= x | y
	}
	for _, c := range rest {
		low |= (uint64(c) - ' ') &^ uint64(c)
		all |= uint64(c)
	}
	return low&(each<<7) == 0 && (all&(each<<7) == 0 || utf8.Valid(b))
}
