package store_test

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/store"
)

// A layer is unpacked behind the writer of its blob, and its chain waits for the
// blob to be verified.
func TestUnrollFollowsStaging(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(g *store.Staging, rest []byte) error // of the staging, when half was read
		want error                                     // of Unroll
	}{
		{"committed", func(g *store.Staging, rest []byte) error {
			_, err := g.Write(rest)
			return errors.Join(err, g.Commit())
		}, nil},
		{"false", func(g *store.Staging, rest []byte) error {
			_, err := g.Write(make([]byte, len(rest)))
			var mismatch *image.MismatchError
			if err := g.Commit(); !errors.As(err, &mismatch) {
				return errors.New("committed")
			}
			return err
		}, store.ErrArriving},
		{"given up", func(g *store.Staging, _ []byte) error { return g.Close() }, store.ErrArriving},
		{"begun anew", func(g *store.Staging, _ []byte) error { return errors.Join(g.Reset(), g.Discard()) }, store.ErrArriving},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, roots := imagetest.Open(t)
			l := layer(t, "a")
			half := len(l.Data) / 2
			g, err := m.Blobs.Stage(l.Descriptor)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.Write(l.Data[:half]); err != nil {
				t.Fatal(err)
			}
			read := make(chan struct{})
			m.Unpack = func(_ context.Context, _ store.Draft, f *os.File) (digest.Digest, error) {
				b := make([]byte, half)
				if _, err := io.ReadFull(f, b); err != nil {
					return "", err
				}
				close(read)
				if _, err := io.Copy(io.Discard, f); err != nil {
					return "", err
				}
				return l.DiffID, nil // even if it is not: what counts is the blob
			}
			result := make(chan error)
			go func() {
				_, err := m.Unroll(t.Context(), store.Layer{Blob: l.Descriptor, DiffID: l.DiffID, Chain: l.DiffID}, nil)
				result <- err
			}()
			<-read
			if there, err := roots.Has(t.Context(), l.DiffID); err != nil || there {
				t.Errorf("there before its blob: %v, %v", there, err)
			}
			if err := test.end(g, l.Data[half:]); err != nil {
				t.Error(err)
			}
			if err := <-result; !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if there, err := roots.Has(t.Context(), l.DiffID); err != nil || there != (test.want == nil) {
				t.Errorf("there: %v, %v", there, err)
			}
			if left, err := os.ReadDir(roots.Path); err != nil || len(left) > 0 && test.want != nil {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// What cannot be read behind the writer, because it began anew, is read again
// when it is there.
func TestUnrollAgainOnceArrived(t *testing.T) {
	m, roots := imagetest.Open(t)
	l := layer(t, "a")
	g, err := m.Blobs.Stage(l.Descriptor)
	if err != nil {
		t.Fatal(err)
	}
	unpack := m.Unpack
	tries := 0
	m.Unpack = func(ctx context.Context, into store.Draft, f *os.File) (digest.Digest, error) {
		if tries++; tries == 1 {
			if _, err := g.Write(l.Data); err != nil {
				return "", err
			}
			if err := g.Commit(); err != nil {
				return "", err
			}
			return "", errors.New("read something odd")
		}
		return unpack(ctx, into, f)
	}
	created, err := m.Unroll(t.Context(), store.Layer{Blob: l.Descriptor, DiffID: l.DiffID, Chain: l.DiffID}, nil)
	if err != nil || !created || tries != 2 || roots.Commits[l.DiffID] != 1 {
		t.Errorf("created %v after %d tries, %v", created, tries, err)
	}
}

// Nobody hangs on a download that does not move.
func TestUnrollIsCalledOff(t *testing.T) {
	m, roots := imagetest.Open(t)
	l := layer(t, "a")
	g, err := m.Blobs.Stage(l.Descriptor)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = m.Unroll(ctx, store.Layer{Blob: l.Descriptor, DiffID: l.DiffID, Chain: l.DiffID}, cancel)
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := g.Discard(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(roots.Path); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
