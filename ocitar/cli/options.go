package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/joyboyid/xc/ocitar"
)

func (p *program) setFormat(s string) error {
	if s != "text" && s != "json" {
		return fmt.Errorf("%q is neither text nor json", s)
	}
	p.json = s == "json"
	return nil
}

func (p *program) limitFlags(l *ocitar.Limits) {
	p.flags.Int64Var(&l.Bytes, "limit-bytes", 0, "of the plain layer; 0 is the default, -1 none")
	p.flags.Int64Var(&l.Entries, "limit-entries", 0, "entries of the layer, and directories without one")
	p.flags.Int64Var(&l.Ratio, "limit-ratio", 0, "plain bytes per compressed byte")
	p.flags.Int64Var(&l.Window, "limit-window", 0, "bytes of a zstd window")
	p.flags.IntVar(&l.Depth, "limit-depth", 0, "components of a name")
}

func (p *program) confineFlag() {
	p.flags.BoolVar(&p.unconfine, "unconfined", false, "read the layer in this process, with all its rights")
}

func (p *program) packFlags(pk *ocitar.Packer) {
	p.flags.Var(compression{&pk.Compression}, "compression", "none, gzip or zstd")
	p.flags.IntVar(&pk.Level, "level", 0, "of compression: gzip 1 to 9; zstd 1 to 22, 1 if not said; 0 is the default")
	p.flags.BoolVar(&pk.NoSparse, "no-sparse", false, "pack holes as zeros")
	p.flags.Func("uidmap", "map owners back: `INSIDE:OUTSIDE:SIZE`, many times", idMaps(&pk.UIDs))
	p.flags.Func("gidmap", "the same for groups", idMaps(&pk.GIDs))
}

// finish reports the end. As JSON what was read or written is told also where it failed
// on the way: notes of it may say why.
func (p *program) finish(w io.Writer, s ocitar.Summary, err error) error {
	if err != nil && !p.json {
		return err
	}
	return errors.Join(err, p.summary(w, s))
}

// summary prints what was read or written.
func (p *program) summary(w io.Writer, s ocitar.Summary) error {
	if p.json {
		return json.NewEncoder(w).Encode(s)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(p.stderr, "ocitar: %q: %s\n", n.Entry, n.Text)
	}
	if s.NotesDropped > 0 {
		fmt.Fprintf(p.stderr, "ocitar: and %d more\n", s.NotesDropped)
	}
	_, err := fmt.Fprintf(w, "diffid %s %d\ndigest %s %d %s\n", s.DiffID, s.TarSize, s.Digest, s.Size, s.Compression)
	return err
}

// compression is the flag of that name.
type compression struct{ to *ocitar.Compression }

func (c compression) Set(s string) error { return c.to.UnmarshalText([]byte(s)) }
func (c compression) String() string {
	if c.to == nil {
		return "none"
	}
	return c.to.String()
}

// idMaps reads "INSIDE:OUTSIDE:SIZE".
func idMaps(to *[]ocitar.IDMap) func(string) error {
	return func(s string) error {
		parts := strings.Split(s, ":")
		if len(parts) != 3 {
			return fmt.Errorf("%q is not INSIDE:OUTSIDE:SIZE", s)
		}
		var n [3]uint32
		for i, part := range parts {
			v, err := strconv.ParseUint(part, 10, 32)
			if err != nil {
				return err
			}
			n[i] = uint32(v)
		}
		*to = append(*to, ocitar.IDMap{Inside: n[0], Outside: n[1], Size: n[2]})
		return nil
	}
}

const epochVariable = "SOURCE_DATE_EPOCH"

// epoch reads SOURCE_DATE_EPOCH (reproducible-builds.org/specs/source-date-epoch).
func epoch() (time.Time, error) {
	s := os.Getenv(epochVariable)
	if s == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, fmt.Errorf("%s %q is no number of seconds", epochVariable, s)
	}
	return time.Unix(n, 0), nil
}

func appendTo(list *[]string) func(string) error {
	return func(s string) error {
		*list = append(*list, s)
		return nil
	}
}

func devices(to *ocitar.Devices) func(string) error {
	return func(s string) error {
		policies := map[string]ocitar.Devices{"make": ocitar.MakeDevices, "skip": ocitar.SkipDevices, "refuse": ocitar.RefuseDevices}
		d, ok := policies[s]
		if !ok {
			return fmt.Errorf("%q is none of make, skip and refuse", s)
		}
		*to = d
		return nil
	}
}
