package zfs

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
)

// Change is a difference between two states of a file system. Paths start with
// the directory it is mounted on.
type Change struct {
	Kind  byte   // 'M' modified, '+' created, '-' removed, 'R' renamed
	Type  byte   // 'F' file, '/' directory, '@' link, '|' fifo, '=' socket, 'B' 'C' devices, '>' door, 'P' port
	Path  string // of an 'R' the old one
	To    string // of an 'R' the new path
	Links int    // by how many the hard links have become more or fewer
}

// Diff tells what has changed between a snapshot and a later one, or, with to
// being a file system, what is there now. Both must be mounted or be snapshots
// of something mounted.
//
// What zfs-diff(8) does not say (lib/libzfs/libzfs_diff.c): the name of a hard
// link that came or went (only that its file has Links more or fewer, and that
// its directory was modified); whether a renamed file was modified as well; what
// is in a renamed directory. A modified directory is not one whose contents are.
func (z *ZFS) Diff(ctx context.Context, from, to string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		if err := checkName("diff", from, true); err != nil {
			yield(Change{}, err)
			return
		}
		if err := checkName("diff", to, strings.Contains(to, "@")); err != nil {
			yield(Change{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		r, w := io.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.CloseWithError(z.stream(ctx, "diff", to, nil, w, "diff", "-FH", from, to))
		}()
		defer func() {
			cancel()
			r.Close()
			<-ended
		}()
		for c, err := range parseDiff(r) {
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// maxDiffLine bounds a line of zfs diff: two paths, five bytes for each of theirs.
const maxDiffLine = 64 << 10

// parseDiff reads what zfs diff -FH prints.
func parseDiff(r io.Reader) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		s := bufio.NewScanner(r)
		s.Buffer(nil, maxDiffLine)
		for s.Scan() {
			if bytes.Contains(s.Bytes(), []byte("\t(on_delete_queue)")) {
				continue // an open file without a name
			}
			c, err := parseChange(s.Text())
			if err != nil {
				err = fmt.Errorf("zfs diff: line %q: %w", s.Text(), err)
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
		if err := s.Err(); err != nil {
			yield(Change{}, fmt.Errorf("zfs diff: %w", err))
		}
	}
}

func parseChange(line string) (Change, error) {
	f := strings.Split(line, "\t")
	if len(f) < 3 || len(f[0]) != 1 || len(f[1]) != 1 {
		return Change{}, fmt.Errorf("has not the form of a change")
	}
	c := Change{Kind: f[0][0], Type: f[1][0]}
	if !strings.ContainsRune("M+-R", rune(c.Kind)) {
		return Change{}, fmt.Errorf("unknown kind %q", c.Kind)
	}
	var err error
	if c.Path, err = unescape(f[2]); err != nil {
		return Change{}, err
	}
	switch {
	case c.Kind == 'R' && len(f) == 4:
		c.To, err = unescape(f[3])
	case c.Kind == 'M' && len(f) == 4:
		c.Links, err = strconv.Atoi(strings.Trim(f[3], "()"))
	case c.Kind == 'R' || len(f) != 3:
		err = fmt.Errorf("has %d columns", len(f))
	}
	return c, err
}

// unescape undoes stream_bytes (lib/libzfs/libzfs_diff.c): bytes that are not
// printable ASCII, space and backslash are written as a backslash and four octal
// digits.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for len(s) > 0 {
		if s[0] != '\\' {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		if len(s) < 5 {
			return "", fmt.Errorf("escape %q is cut off", s)
		}
		n, err := strconv.ParseUint(s[1:5], 8, 8)
		if err != nil {
			return "", fmt.Errorf("escape %q: %w", s[:5], err)
		}
		b.WriteByte(byte(n))
		s = s[5:]
	}
	return b.String(), nil
}
