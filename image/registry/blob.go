package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/store"
)

var (
	errLost    = errors.New("connection lost")
	errShort   = errors.New("the registry ended the blob too early")
	errPastEnd = errors.New("the registry says that the blob ends before")
	errRange   = errors.New("the registry answered with another range than was asked for")
)

// Download fetches what is missing of a blob into its staging, which it leaves
// for the caller to commit. It resumes after interruptions, and starts again
// where the registry cannot resume. progress, which may be nil, is told how many
// bytes there are, earlier attempts included.
func (c *Client) Download(ctx context.Context, ref image.Reference, desc ispec.Descriptor, g *store.Staging, progress func(int64)) error {
	return c.download(ctx, c.sources(ref), desc, g, progress)
}

func (c *Client) download(ctx context.Context, from []source, desc ispec.Descriptor, g *store.Staging, progress func(int64)) error {
	if progress == nil {
		progress = func(int64) {}
	}
	return c.fromSources(ctx, from, func(e endpoint, s source) error {
		return c.downloadFrom(ctx, e, s, desc, g, progress)
	})
}

func (c *Client) downloadFrom(ctx context.Context, e endpoint, s source, desc ispec.Descriptor, g *store.Staging, progress func(int64)) error {
	ended := int64(-1) // where the registry has said that the blob ends, before its size
	return c.retry(s).do(ctx, func(ctx context.Context, alive func()) (int64, error) {
		before := g.Offset()
		if before == desc.Size {
			return 0, nil
		}
		err := c.downloadOnce(ctx, e, desc, g, func(n int64) { alive(); progress(n) })
		switch {
		case errors.Is(err, errShort) && ended == g.Offset(), errors.Is(err, errPastEnd) && ended == before:
			err = sizeMismatch(desc, ended) // said twice: it is no accident
		case errors.Is(err, errShort):
			ended = g.Offset()
		case errors.Is(err, errPastEnd):
			err = errors.Join(err, g.Reset())
		case errors.Is(err, syscall.ECONNREFUSED): // it was there a moment ago: it restarts
			err = fmt.Errorf("%w: %w", errLost, err)
		}
		return g.Offset() - before, err
	})
}

func sizeMismatch(desc ispec.Descriptor, got int64) error {
	return &image.MismatchError{What: "size", Of: desc.Digest.String(), Want: fmt.Sprint(desc.Size), Got: fmt.Sprint(got)}
}

func (c *Client) downloadOnce(ctx context.Context, e endpoint, desc ispec.Descriptor, g *store.Staging, progress func(int64)) error {
	header := http.Header{}
	from := g.Offset()
	if from > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, desc.Size-1))
	}
	resp, err := c.get(ctx, e, "blobs", desc.Digest.String(), header, http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return errPastEnd
	case resp.StatusCode == http.StatusPartialContent && !rangeIs(resp.Header.Get("Content-Range"), from, desc.Size):
		return errors.Join(errRange, g.Reset())
	case resp.StatusCode == http.StatusOK && from > 0:
		if err := g.Reset(); err != nil {
			return err
		}
		from = 0
	}
	if n := resp.ContentLength; n >= 0 && from+n != desc.Size {
		return sizeMismatch(desc, from+n)
	}
	return copyBlob(g, resp.Body, desc, progress)
}

// rangeIs reads "bytes FIRST-LAST/SIZE" (RFC 9110, 14.4), where SIZE may be *.
func rangeIs(s string, first, size int64) bool {
	unit, rest, _ := strings.Cut(s, " ")
	span, total, _ := strings.Cut(rest, "/")
	from, to, _ := strings.Cut(span, "-")
	a, err1 := strconv.ParseInt(from, 10, 64)
	b, err2 := strconv.ParseInt(to, 10, 64)
	return strings.EqualFold(unit, "bytes") && err1 == nil && err2 == nil &&
		a == first && b == size-1 && (total == "*" || total == strconv.FormatInt(size, 10))
}

// copyBlob writes the body to the end. Errors of the connection come back as
// they are, to be tried again; those of the disk as what they are.
func copyBlob(g *store.Staging, body io.Reader, desc ispec.Descriptor, progress func(int64)) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if _, err := g.Write(buf[:n]); err != nil {
				return err
			}
			progress(g.Offset())
		}
		switch {
		case err == io.EOF && g.Offset() < desc.Size:
			return errShort
		case err == io.EOF:
			return nil
		case err != nil: // HTTP/2's have no type to tell them by
			return fmt.Errorf("%w: %w", errLost, err)
		}
	}
}
