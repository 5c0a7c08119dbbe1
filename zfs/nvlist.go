package zfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// list is an nvlist: names with values, which are flag, bool, int32, uint32,
// int64, uint64, string or list. Values of other types are decoded as raw.
//
// The packed form "native" (module/nvpair/nvpair.c, nvs_native) is: four bytes
// encoding 0, endianness, 0, 0; int32 version 0; uint32 flags; pairs; int32 0.
// A pair is its size, the size of its name with NUL (int16), int16 0, the number
// of elements, the type, the name and the value, each padded to 8 bytes. A list
// as a value is a stub of 24 bytes; its pairs follow the pair and end with a 0.
type list map[string]any

// flag is the value of a pair that only is there (DATA_TYPE_BOOLEAN).
type flag struct{}

// raw is a value of a type that is of no use here.
type raw struct {
	kind int32
	data string
}

const (
	kindFlag   = 1
	kindInt32  = 5
	kindUint32 = 6
	kindInt64  = 7
	kindUint64 = 8
	kindString = 9
	kindList   = 19
	kindBool   = 21

	pairHeader = 16
	stubSize   = 24
	uniqueName = 1 // NV_UNIQUE_NAME

	maxDepth = 16 // of lists in lists; the kernel's is 100
)

var errNvlist = errors.New("malformed nvlist")

func pad8(n int) int { return (n + 7) &^ 7 }

var native = binary.NativeEndian

// littleEndian is the second byte of a packed list.
func littleEndian() byte { return byte(native.Uint16([]byte{1, 0}) & 1) }

// pack encodes l, names in alphabetical order.
func (l list) pack() ([]byte, error) {
	b := []byte{0, littleEndian(), 0, 0}
	b = native.AppendUint32(b, 0)
	b = native.AppendUint32(b, uniqueName)
	return l.appendPairs(b)
}

func (l list) appendPairs(b []byte) ([]byte, error) {
	for _, name := range slices.Sorted(maps.Keys(l)) {
		var err error
		if b, err = appendPair(b, name, l[name]); err != nil {
			return nil, err
		}
	}
	return native.AppendUint32(b, 0), nil
}

func appendPair(b []byte, name string, v any) ([]byte, error) {
	if len(name) >= math.MaxInt16 || slices.Contains([]byte(name), 0) {
		return nil, fmt.Errorf("nvlist name %.40q: %w", name, errNvlist)
	}
	var kind int32
	var value []byte
	elems := uint32(1)
	switch v := v.(type) {
	case flag:
		kind, elems = kindFlag, 0
	case bool:
		kind, value = kindBool, native.AppendUint32(nil, map[bool]uint32{true: 1}[v])
	case int32:
		kind, value = kindInt32, native.AppendUint32(nil, uint32(v))
	case uint32:
		kind, value = kindUint32, native.AppendUint32(nil, v)
	case int64:
		kind, value = kindInt64, native.AppendUint64(nil, uint64(v))
	case uint64:
		kind, value = kindUint64, native.AppendUint64(nil, v)
	case string:
		kind, value = kindString, append([]byte(v), 0)
	case list:
		kind, value = kindList, make([]byte, stubSize)
		native.PutUint32(value[4:], uniqueName)
	default:
		return nil, fmt.Errorf("nvlist value %s of type %T: %w", name, v, errNvlist)
	}
	at := pad8(pairHeader + len(name) + 1)
	start := len(b)
	b = append(b, make([]byte, at+pad8(len(value)))...)
	p := b[start:]
	native.PutUint32(p, uint32(len(p)))
	native.PutUint16(p[4:], uint16(len(name)+1))
	native.PutUint32(p[8:], elems)
	native.PutUint32(p[12:], uint32(kind))
	copy(p[pairHeader:], name)
	copy(p[at:], value)
	if l, ok := v.(list); ok {
		return l.appendPairs(b)
	}
	return b, nil
}

// unpack decodes a packed list.
func unpack(b []byte) (list, error) {
	if len(b) < 12 || b[0] != 0 || b[1] != littleEndian() {
		return nil, fmt.Errorf("header: %w", errNvlist)
	}
	l, _, err := unpackPairs(b[12:], 0)
	return l, err
}

// unpackPairs decodes pairs up to the 0 that ends them and returns what follows.
func unpackPairs(b []byte, depth int) (list, []byte, error) {
	if depth > maxDepth {
		return nil, nil, fmt.Errorf("too deep: %w", errNvlist)
	}
	l := list{}
	for {
		if len(b) < 4 {
			return nil, nil, fmt.Errorf("no end: %w", errNvlist)
		}
		size := int(int32(native.Uint32(b)))
		if size == 0 {
			return l, b[4:], nil
		}
		if size < pairHeader || size > len(b) {
			return nil, nil, fmt.Errorf("size %d of a pair: %w", size, errNvlist)
		}
		name, value, kind, err := splitPair(b[:size])
		if err != nil {
			return nil, nil, err
		}
		b = b[size:]
		var v any
		if kind == kindList {
			v, b, err = unpackPairs(b, depth+1)
		} else {
			v, err = unpackValue(kind, value)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		l[name] = v
	}
}

// splitPair takes a pair apart.
func splitPair(p []byte) (name string, value []byte, kind int32, err error) {
	n := int(int16(native.Uint16(p[4:])))
	kind = int32(native.Uint32(p[12:]))
	if n < 1 || pairHeader+n > len(p) || pad8(pairHeader+n) > len(p) || p[pairHeader+n-1] != 0 {
		return "", nil, 0, fmt.Errorf("name of a pair: %w", errNvlist)
	}
	return string(p[pairHeader : pairHeader+n-1]), p[pad8(pairHeader+n):], kind, nil
}

func unpackValue(kind int32, b []byte) (any, error) {
	need := map[int32]int{kindBool: 4, kindInt32: 4, kindUint32: 4, kindInt64: 8, kindUint64: 8}[kind]
	if len(b) < need {
		return nil, fmt.Errorf("value of type %d in %d bytes: %w", kind, len(b), errNvlist)
	}
	switch kind {
	case kindFlag:
		return flag{}, nil
	case kindBool:
		return native.Uint32(b) != 0, nil
	case kindInt32:
		return int32(native.Uint32(b)), nil
	case kindUint32:
		return native.Uint32(b), nil
	case kindInt64:
		return int64(native.Uint64(b)), nil
	case kindUint64:
		return native.Uint64(b), nil
	case kindString:
		end := slices.Index(b, 0)
		if end < 0 {
			return nil, fmt.Errorf("string without an end: %w", errNvlist)
		}
		return string(b[:end]), nil
	}
	return raw{kind, string(b)}, nil
}
