package ipc

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// JSON has no form for bytes that are not UTF-8 (RFC 8259, section 8.1), but
// encoding/json writes U+FFFD for them, and reads U+FFFD for them and for half a
// surrogate pair. A command, a path or a variable that was changed on its way is
// not the one that was asked for, so both sides refuse such parameters. Results
// are not refused: the deed is done, and an answer with U+FFFD in it is better
// than none. What is bytes rather than text should be a []byte.

// replaced is what encoding/json writes for a byte that is not UTF-8. A U+FFFD
// of the text itself is written as it is.
var replaced = []byte(`\ufffd`)

// CheckText returns an fs.ErrInvalid that names the first string in v that is not
// UTF-8, by the keys it has in JSON: `spec.command[1] "\xff" is not UTF-8`. A client
// checks its parameters; CheckText is for those who keep values as JSON themselves.
func CheckText(v any) error {
	at, text, bad := badText(reflect.ValueOf(v))
	if !bad {
		return nil
	}
	if at = strings.TrimPrefix(at, "."); at != "" {
		at += " "
	}
	return &Error{Code: CodeInvalid, Message: fmt.Sprintf("%s%q is not UTF-8", at, text)}
}

// badText finds a string as encoding/json does: by exported and embedded fields.
// Types that encode themselves are left alone.
func badText(v reflect.Value) (at, text string, bad bool) {
	if !v.IsValid() || encodesItself(v.Type()) {
		return "", "", false
	}
	switch v.Kind() {
	case reflect.String:
		return "", v.String(), !utf8.ValidString(v.String())
	case reflect.Pointer, reflect.Interface:
		return badText(v.Elem())
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			break
		}
		for i := range v.Len() {
			if at, text, bad := badText(v.Index(i)); bad {
				return "[" + strconv.Itoa(i) + "]" + at, text, true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if at, text, bad := badText(it.Key()); bad {
				return at, text, true
			}
			if at, text, bad := badText(it.Value()); bad {
				return fmt.Sprintf("[%v]%s", it.Key(), at), text, true
			}
		}
	case reflect.Struct:
		return badField(v)
	}
	return "", "", false
}

func badField(v reflect.Value) (at, text string, bad bool) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Tag.Get("json") == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		at, text, bad := badText(v.Field(i))
		switch {
		case !bad:
			continue
		case key != "":
			at = "." + key + at
		case !f.Anonymous:
			at = "." + f.Name + at
		}
		return at, text, true
	}
	return "", "", false
}

// checkEncoded is CheckText for a v that was encoded as b, which is looked at
// first: it costs next to nothing.
func checkEncoded(b []byte, v any) error {
	if !bytes.Contains(b, replaced) {
		return nil
	}
	return CheckText(v)
}

// checkExact tells whether decoding a JSON text, which is otherwise in order,
// changes a string of it.
func checkExact(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("not UTF-8")
	}
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return nil
		}
		unit := codeUnit(b[i:])
		b = b[i+2:]
		if unit < 0xd800 || unit > 0xdfff {
			continue
		}
		if b = b[4:]; unit > 0xdbff || codeUnit(b)&^0x3ff != 0xdc00 {
			return fmt.Errorf(`half a surrogate pair, \u%x`, unit)
		}
		b = b[6:]
	}
}

// codeUnit is the number in an escape, \u and four hexadecimal digits, that b begins
// with; -1 if it does not.
func codeUnit(b []byte) int {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(n)
}
