package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/joyboyid/xc/image"
)

// chunk is Client.Chunk unless it is set. What was lost with a connection is
// uploaded again, so it is not large; registries that keep blobs in S3 want at
// least 5 MiB.
const chunk = 16 << 20

// maxAsked bounds the repositories that are asked for a blob before it is sent.
const maxAsked = 3

// Uploaded tells how a blob came to be in the repository.
type Uploaded int

// The ways.
const (
	WasThere Uploaded = iota // it was there before
	Mounted                  // the registry has taken it from another repository
	Sent
)

// Upload brings a blob into the repository of ref, unless it is there: from
// another of the registry's repositories that has it, as from may say, else in
// chunks from the file, going on after interruptions where the registry says it
// is. progress, which may be nil, is told how many bytes are there.
func (c *Client) Upload(ctx context.Context, ref image.Reference, desc ispec.Descriptor, blob *os.File, from []string, progress func(int64)) (Uploaded, error) {
	u := &upload{c: c, ref: ref, desc: desc, blob: blob, progress: progress}
	if progress == nil {
		u.progress = func(int64) {}
	}
	how, err := u.run(ctx, from)
	if err != nil {
		return how, fmt.Errorf("upload blob %s: %w", desc.Digest, err)
	}
	return how, nil
}

// upload is a blob on its way out.
type upload struct {
	c        *Client
	e        endpoint
	ref      image.Reference
	desc     ispec.Descriptor
	blob     io.ReaderAt
	progress func(int64)

	session *url.URL // where to go on; nil before it has begun
	sent    int64    // bytes that the registry has
	asked   bool     // the session's state is known
}

func (u *upload) run(ctx context.Context, from []string) (Uploaded, error) {
	var err error
	if u.e, err = u.c.endpoint(ctx, u.ref); err != nil {
		return Sent, err
	}
	there, err := u.there(ctx)
	if err != nil || there {
		return WasThere, err
	}
	for _, repository := range from[:min(len(from), maxAsked)] {
		mounted, err := u.mount(ctx, repository)
		if err != nil || mounted {
			return Mounted, err
		}
	}
	// The file that is sent was verified when it came in; the registry does it
	// again.
	return Sent, u.c.Retry.do(ctx, func(ctx context.Context, alive func()) (int64, error) {
		before := u.sent
		err := u.attempt(ctx, alive)
		if errors.Is(err, syscall.ECONNREFUSED) { // it was there a moment ago: it restarts
			err = fmt.Errorf("%w: %w", errLost, err)
		}
		if err != nil {
			u.asked = false
		}
		return max(0, u.sent-before), err
	})
}

// there asks whether the repository has the blob.
func (u *upload) there(ctx context.Context) (bool, error) {
	err := u.c.Retry.do(ctx, func(ctx context.Context, _ func()) (int64, error) {
		resp, err := u.request(ctx, http.MethodHead, u.e.url("blobs", u.desc.Digest.String()), nil, nil, http.StatusOK)
		if err != nil {
			return 0, err
		}
		return 0, resp.Body.Close()
	})
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// mount asks for the blob of another repository. A registry that does not do
// that begins an upload instead, which is then gone on with.
func (u *upload) mount(ctx context.Context, repository string) (bool, error) {
	source := u.e.ref
	source.Repository = repository
	ctx = auth.AppendRepositoryScope(ctx, source, auth.ActionPull)
	q := url.Values{"mount": {u.desc.Digest.String()}, "from": {repository}}
	mounted := false
	err := u.c.Retry.do(ctx, func(ctx context.Context, _ func()) (int64, error) {
		resp, err := u.request(ctx, http.MethodPost, u.e.url("blobs", "uploads/")+"?"+q.Encode(), nil, nil, http.StatusCreated, http.StatusAccepted)
		if err != nil {
			return 0, err
		}
		if mounted = resp.StatusCode == http.StatusCreated; !mounted {
			err = u.move(resp)
		}
		return 0, errors.Join(err, resp.Body.Close())
	})
	var status *StatusError
	if errors.As(err, &status) && !transient(err) {
		return false, nil // what it may not or cannot mount, it may still be sent
	}
	u.asked = u.session != nil
	return mounted, err
}

// attempt sends what the registry does not have, and ends the upload.
func (u *upload) attempt(ctx context.Context, alive func()) error {
	if u.session != nil && !u.asked {
		if err := u.resume(ctx); err != nil {
			return err
		}
	}
	if u.session == nil {
		if err := u.begin(ctx); err != nil {
			return err
		}
	}
	for u.sent < u.desc.Size {
		n := min(or(u.c.Chunk, chunk), u.desc.Size-u.sent)
		header := http.Header{"Content-Range": {fmt.Sprintf("%d-%d", u.sent, u.sent+n-1)}}
		body := u.body(u.sent, n, alive)
		resp, err := u.request(ctx, http.MethodPatch, u.session.String(), header, body, http.StatusAccepted, http.StatusCreated, http.StatusNoContent)
		if err != nil {
			return u.chunkError(err)
		}
		u.sent += n
		if err := errors.Join(u.move(resp), resp.Body.Close()); err != nil {
			return err
		}
		u.progress(u.sent)
	}
	q := u.session.Query()
	q.Set("digest", u.desc.Digest.String())
	end := *u.session
	end.RawQuery = q.Encode()
	resp, err := u.request(ctx, http.MethodPut, end.String(), nil, u.body(0, 0, alive), http.StatusCreated, http.StatusNoContent)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// chunkError is what to make of a chunk that was refused. An upload that the
// registry has lost, or has more or less of than was thought, begins anew.
func (u *upload) chunkError(err error) error {
	var status *StatusError
	if errors.As(err, &status) && (status.Code == http.StatusRequestedRangeNotSatisfiable || status.Code == http.StatusNotFound) {
		u.session, u.sent = nil, 0
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return err
}

func (u *upload) begin(ctx context.Context) error {
	resp, err := u.request(ctx, http.MethodPost, u.e.url("blobs", "uploads/"), nil, nil, http.StatusAccepted)
	if err != nil {
		return err
	}
	u.sent, u.asked = 0, true
	return errors.Join(u.move(resp), resp.Body.Close())
}

// resume asks how far the upload is (distribution-spec, "Pushing a blob in
// chunks"). One that the registry has forgotten, or that is beyond what was
// sent, begins anew.
func (u *upload) resume(ctx context.Context) error {
	resp, err := u.request(ctx, http.MethodGet, u.session.String(), nil, nil, http.StatusNoContent, http.StatusAccepted)
	var status *StatusError
	if errors.As(err, &status) && status.Code/100 == 4 && !transient(err) && !errors.Is(err, os.ErrPermission) {
		u.session, u.sent = nil, 0
		return nil
	}
	if err != nil {
		return err
	}
	sent, ok := received(resp.Header.Get("Range"))
	if err := errors.Join(u.move(resp), resp.Body.Close()); err != nil {
		return err
	}
	if !ok || sent > u.desc.Size {
		u.session, u.sent = nil, 0
		return nil
	}
	u.sent, u.asked = sent, true
	return nil
}

// received reads the Range of an upload, 0-LAST, where LAST is inclusive. What
// has nothing yet is said to be 0-0, also by the reference implementation, and
// so is what has one byte: that is sent again.
func received(s string) (int64, bool) {
	if s == "" {
		return 0, true
	}
	first, last, ok := strings.Cut(strings.TrimPrefix(s, "bytes="), "-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || first != "0" || err != nil || n < 0 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return n + 1, true
}

// move takes the place where the upload goes on from an answer.
func (u *upload) move(resp *http.Response) error {
	location := resp.Header.Get("Location")
	if location == "" {
		if u.session != nil {
			return nil
		}
		return fmt.Errorf("%s: the registry does not say where to upload to", resp.Request.URL.Redacted())
	}
	next, err := resp.Request.URL.Parse(location)
	if err != nil {
		return fmt.Errorf("place of the upload: %w", err)
	}
	if u.e.scheme == "https" && next.Scheme != "https" {
		if next.Host != resp.Request.URL.Host {
			return fmt.Errorf("refusing to upload to %s: it is not https", next.Redacted())
		}
		next.Scheme = "https" // of a registry behind a proxy that it does not know of
	}
	u.session = next
	return nil
}

// body is a part of the blob, which can be read anew when a request has to be
// repeated with a login.
type body struct {
	open func() io.ReadCloser
	n    int64
}

func (u *upload) body(from, n int64, alive func()) *body {
	return &body{n: n, open: func() io.ReadCloser {
		return io.NopCloser(&liveReader{io.NewSectionReader(u.blob, from, n), alive})
	}}
}

// request asks with the right to push. Any status but those wanted is a
// *StatusError.
func (u *upload) request(ctx context.Context, method, target string, header http.Header, b *body, want ...int) (*http.Response, error) {
	return u.c.push(ctx, u.e, method, target, header, b, want...)
}

// push is a request with the right to push to the repository.
func (c *Client) push(ctx context.Context, e endpoint, method, target string, header http.Header, b *body, want ...int) (*http.Response, error) {
	ctx = auth.AppendRepositoryScope(ctx, e.ref, auth.ActionPull, auth.ActionPush)
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if b != nil {
		if req.Header.Get("Content-Type") == "" {
			req.Header.Set("Content-Type", "application/octet-stream")
		}
		req.ContentLength = b.n
		if b.n > 0 {
			req.Body = b.open()
			req.GetBody = func() (io.ReadCloser, error) { return b.open(), nil }
		}
	}
	return c.send(req, want...)
}

// PutManifest puts an index or a manifest into the repository of ref, under its
// tag, or under its digest if it has none.
func (c *Client) PutManifest(ctx context.Context, ref image.Reference, m Manifest) error {
	object := ref.Tag
	if object == "" {
		object = m.Digest.String()
	}
	e, err := c.endpoint(ctx, ref)
	if err != nil {
		return err
	}
	var said string
	err = c.Retry.do(ctx, func(ctx context.Context, alive func()) (int64, error) {
		b := &body{n: int64(len(m.Raw)), open: func() io.ReadCloser {
			return io.NopCloser(&liveReader{strings.NewReader(string(m.Raw)), alive})
		}}
		resp, err := c.push(ctx, e, http.MethodPut, e.url("manifests", object), http.Header{"Content-Type": {m.MediaType}}, b, http.StatusCreated, http.StatusOK, http.StatusAccepted)
		if err != nil {
			return 0, err
		}
		said = resp.Header.Get("Docker-Content-Digest")
		return 0, resp.Body.Close()
	})
	if err == nil && said != "" && digest.Digest(said) != m.Digest {
		err = &image.MismatchError{What: "digest", Of: "the manifest that the registry has", Want: m.Digest.String(), Got: said}
	}
	if err != nil {
		return fmt.Errorf("put manifest %s: %w", m.Digest, err)
	}
	return nil
}
