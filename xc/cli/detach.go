package cli

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// detachFlag binds --detach-keys.
func detachFlag(f *pflag.FlagSet) *keySequence {
	k := &keySequence{}
	_ = k.Set("ctrl-p,ctrl-q") // they are keys
	f.Var(k, "detach-keys", "keys that leave a container with a terminal running; empty for none")
	return k
}

// keySequence is a flag with keys. It is read with the command line: what is no key is
// told also where nobody is to type it.
type keySequence struct {
	text string
	keys []byte
}

func (k *keySequence) String() string { return k.text }
func (*keySequence) Type() string     { return "string" }

func (k *keySequence) Set(s string) (err error) {
	k.text = s
	k.keys, err = parseKeys(s)
	return err
}

// parseKeys reads a sequence of keys as Docker writes it: characters and
// ctrl-X, separated by commas.
func parseKeys(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	var keys []byte
	for _, k := range strings.Split(s, ",") {
		c, control := strings.CutPrefix(strings.ToLower(k), "ctrl-")
		switch {
		case control && len(c) == 1 && c[0] >= 'a' && c[0] <= 'z':
			keys = append(keys, c[0]-'a'+1)
		case control && len(c) == 1 && strings.ContainsAny(c, `@[\]^_`):
			keys = append(keys, c[0]-'@')
		case !control && len(k) == 1:
			keys = append(keys, k[0])
		default:
			return nil, fmt.Errorf("%q is no character and no ctrl-X", k)
		}
	}
	return keys, nil
}

// keyFilter takes the detach keys out of what is typed. What turns out not to
// be them goes through, late but whole.
type keyFilter struct {
	keys []byte
	held int // how many of the keys were typed, and are held back
}

// write returns what is to go on, and whether the keys were complete.
func (k *keyFilter) write(in []byte) (out []byte, detach bool) {
	if len(k.keys) == 0 {
		return in, false
	}
	for _, c := range in {
		for k.held > 0 && c != k.keys[k.held] {
			// The longest end of what was typed that may still begin the keys.
			out = append(out, k.shift()...)
		}
		if c != k.keys[k.held] {
			out = append(out, c)
			continue
		}
		if k.held++; k.held == len(k.keys) {
			return out, true
		}
	}
	return out, false
}

// shift releases the least of what is held so that the rest begins the keys.
func (k *keyFilter) shift() []byte {
	for n := 1; n <= k.held; n++ {
		if bytes.HasPrefix(k.keys, k.keys[n:k.held]) {
			k.held -= n
			return k.keys[:n]
		}
	}
	return nil
}
