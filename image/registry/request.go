package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/joyboyid/xc/image"
)

// maxAfter bounds what a registry may ask to wait: who reads it sees that it is
// long.
const maxAfter = 1 << 24 * time.Second

// StatusError is what a registry answers instead of what it was asked for.
type StatusError struct {
	URL        string // without its query, which may hold a signature
	Code       int    // HTTP status
	Errors     errcode.Errors
	RetryAfter time.Duration // as the registry asks, 0 if it does not
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s: %d %s", e.URL, e.Code, http.StatusText(e.Code))
	if len(e.Errors) > 0 {
		s += ": " + e.Errors.Error()
	}
	if e.RetryAfter > 0 {
		s += fmt.Sprintf(" (retry after %s)", e.RetryAfter)
	}
	return s
}

// Unwrap makes 404 match fs.ErrNotExist, 401 and 403 fs.ErrPermission.
func (e *StatusError) Unwrap() error {
	switch e.Code {
	case http.StatusNotFound:
		return fs.ErrNotExist
	case http.StatusUnauthorized, http.StatusForbidden:
		return fs.ErrPermission
	}
	return nil
}

// get asks for an object of the repository. Any status but those wanted is a
// *StatusError.
func (c *Client) get(ctx context.Context, e endpoint, kind, object string, header http.Header, want ...int) (*http.Response, error) {
	ctx = auth.AppendRepositoryScope(ctx, e.ref, auth.ActionPull)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url(kind, object), nil)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	return c.send(req, want...)
}

// send does a request. Any status but those wanted is a *StatusError.
func (c *Client) send(req *http.Request, want ...int) (*http.Response, error) {
	// The bytes as they are: net/http would otherwise ask for gzip and undo it.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := c.auth.Load().Do(req)
	if err != nil {
		return nil, authError(err)
	}
	for _, code := range want {
		if resp.StatusCode == code {
			return resp, nil
		}
	}
	err = statusError(resp)
	return nil, errors.Join(err, resp.Body.Close())
}

func statusError(resp *http.Response) error {
	u := *resp.Request.URL
	u.RawQuery, u.User = "", nil
	e := &StatusError{URL: u.String(), Code: resp.StatusCode}
	after := resp.Header.Get("Retry-After") // seconds, or a date (RFC 9110, 10.2.3)
	if s, err := strconv.ParseUint(after, 10, 24); err == nil {
		e.RetryAfter = time.Duration(s) * time.Second
	} else if at, err := http.ParseTime(after); err == nil {
		e.RetryAfter = max(0, min(time.Until(at).Round(time.Second), maxAfter))
	}
	var body struct {
		Errors errcode.Errors `json:"errors"`
	}
	// A body that is not the registry's own error says nothing worth showing.
	if b, err := io.ReadAll(io.LimitReader(resp.Body, 8<<10)); err == nil && json.Unmarshal(b, &body) == nil {
		e.Errors = body.Errors
	}
	return e
}

// authError gives the errors of oras's authorisation our words.
func authError(err error) error {
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) {
		u := *resp.URL
		u.RawQuery, u.User = "", nil
		return &StatusError{URL: u.String(), Code: resp.StatusCode, Errors: resp.Errors}
	}
	if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return fmt.Errorf("%w: %w: log in first", fs.ErrPermission, err)
	}
	return err
}

// Manifest is an index or a manifest as its registry has it.
type Manifest struct {
	ispec.Descriptor
	Raw []byte
}

// Manifest fetches what the reference names: an index or a manifest. If it has
// a digest, that was verified. The error for one that is not there matches
// fs.ErrNotExist.
func (c *Client) Manifest(ctx context.Context, ref image.Reference) (Manifest, error) {
	m, err := c.manifest(ctx, ref)
	if errors.Is(err, fs.ErrPermission) {
		// Docker Hub and others answer so for images that do not exist, too.
		return m, fmt.Errorf("fetch manifest of %s: %w (no such image, or it needs a login)", ref.Familiar(), err)
	}
	if err != nil {
		return m, fmt.Errorf("fetch manifest of %s: %w", ref.Familiar(), err)
	}
	return m, nil
}

func (c *Client) manifest(ctx context.Context, ref image.Reference) (m Manifest, err error) {
	err = c.fromSources(ctx, c.sources(ref), func(e endpoint, s source) error {
		m, err = c.manifestAt(ctx, e, s)
		return err
	})
	return m, err
}

func (c *Client) manifestAt(ctx context.Context, e endpoint, s source) (m Manifest, err error) {
	header := http.Header{"Accept": image.ManifestTypes()}
	var contentType, said string
	err = c.retry(s).do(ctx, func(ctx context.Context, alive func()) (int64, error) {
		resp, err := c.get(ctx, e, "manifests", s.ref.Object(), header, http.StatusOK)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		contentType, said = resp.Header.Get("Content-Type"), resp.Header.Get("Docker-Content-Digest")
		m.Raw, err = io.ReadAll(io.LimitReader(&liveReader{resp.Body, alive}, image.MaxManifestSize+1))
		return int64(len(m.Raw)), err
	})
	if err != nil {
		return m, err
	}
	if m.MediaType, err = image.DetectManifest(contentType, m.Raw); err != nil {
		return m, err
	}
	want := s.ref.Digest
	if want == "" {
		want = digest.Digest(said)
	}
	m.Size = int64(len(m.Raw))
	if want == "" { // the registry need not say it (distribution-spec, "Pulling manifests")
		m.Digest = digest.FromBytes(m.Raw)
		return m, nil
	}
	m.Digest = want
	return m, image.Verify(m.Descriptor, m.Raw)
}

// Blob fetches a small blob of the repository, of at most limit bytes, verified.
func (c *Client) Blob(ctx context.Context, ref image.Reference, desc ispec.Descriptor, limit int64) ([]byte, error) {
	if desc.Size > limit {
		return nil, fmt.Errorf("fetch blob %s: %d bytes, at most %d are accepted", desc.Digest, desc.Size, limit)
	}
	e, err := c.endpoint(ctx, ref)
	if err != nil {
		return nil, err
	}
	var b []byte
	err = c.Retry.do(ctx, func(ctx context.Context, alive func()) (int64, error) {
		resp, err := c.get(ctx, e, "blobs", desc.Digest.String(), nil, http.StatusOK)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		b, err = io.ReadAll(io.LimitReader(&liveReader{resp.Body, alive}, desc.Size+1))
		return int64(len(b)), err
	})
	if err == nil {
		err = image.Verify(desc, b)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch blob %s: %w", desc.Digest, err)
	}
	return b, nil
}

// liveReader tells when something was read.
type liveReader struct {
	r     io.Reader
	alive func()
}

func (l *liveReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if n > 0 {
		l.alive()
	}
	return n, err
}
