package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/joyboyid/xc/image"
)

// Host says how to speak to a registry.
type Host struct {
	PlainHTTP bool // http instead of https
}

// Client speaks to registries. The zero value is ready: anonymous, by https,
// and by http to registries on this machine that do not speak TLS. No field may
// change once it is in use. It may be used by many goroutines at once.
type Client struct {
	// Hosts are the registries that need something said about them, by the host
	// or host:port that references have. To those on loopback addresses that are
	// not listed the client speaks http if they do not know https, as Docker does.
	Hosts map[string]Host

	// Credentials returns what to authorise with, by host:port; nil: anonymous.
	// DockerCredentials makes one.
	Credentials auth.CredentialFunc

	// Transport does the requests; nil: a copy of http.DefaultTransport.
	Transport http.RoundTripper

	UserAgent string // "xc" if empty
	Retry     Retry

	once  sync.Once
	http  *http.Client
	auth  *auth.Client
	plain sync.Map // host to bool: what loopback registries turned out to speak
}

// DockerCredentials reads credentials as Docker keeps them: from its
// config.json at path, and from the credential helpers that are named there. An
// absent file holds none.
func DockerCredentials(path string) (auth.CredentialFunc, error) {
	store, err := credentials.NewStore(path, credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("read registry credentials %s: %w", path, err)
	}
	return credentials.Credential(store), nil
}

func (c *Client) init() {
	c.once.Do(func() {
		transport := c.Transport
		if transport == nil {
			if t, ok := http.DefaultTransport.(*http.Transport); ok {
				transport = t.Clone()
			} else {
				transport = http.DefaultTransport
			}
		}
		c.http = &http.Client{Transport: transport, CheckRedirect: checkRedirect}
		c.auth = &auth.Client{Client: c.http, Credential: c.Credentials, Cache: auth.NewCache()}
		agent := c.UserAgent
		if agent == "" {
			agent = "xc"
		}
		c.auth.SetUserAgent(agent)
	})
}

// checkRedirect bounds redirects, and refuses to leave https.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("refusing a redirect from https to %s://%s", req.URL.Scheme, req.URL.Host)
	}
	return nil
}

// endpoint is a repository and how to reach it.
type endpoint struct {
	scheme string
	ref    registry.Reference
}

func (e endpoint) url(kind, object string) string {
	u := url.URL{Scheme: e.scheme, Host: e.ref.Host(), Path: "/v2/" + e.ref.Repository + "/" + kind + "/" + object}
	return u.String()
}

func (c *Client) endpoint(ctx context.Context, ref image.Reference) (endpoint, error) {
	c.init()
	e := endpoint{scheme: "https", ref: registry.Reference{Registry: ref.Domain, Repository: ref.Path}}
	if err := errors.Join(e.ref.ValidateRegistry(), e.ref.ValidateRepository()); err != nil {
		return e, err
	}
	plain, err := c.speaksPlain(ctx, ref.Domain)
	if plain {
		e.scheme = "http"
	}
	return e, err
}

// speaksPlain tells whether to use http: if the configuration says so, or if
// the registry is on this machine and answers a TLS handshake in http.
func (c *Client) speaksPlain(ctx context.Context, domain string) (bool, error) {
	if h, ok := c.Hosts[domain]; ok {
		return h.PlainHTTP, nil
	}
	if !isLoopback(domain) {
		return false, nil
	}
	if plain, ok := c.plain.Load(domain); ok {
		return plain.(bool), nil
	}
	var plain bool
	err := c.Retry.do(ctx, func(ctx context.Context, _ func()) (int64, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+domain+"/v2/", nil)
		if err != nil {
			return 0, err
		}
		resp, err := c.http.Do(req)
		if err == nil {
			return 0, resp.Body.Close()
		}
		if errors.Is(err, http.ErrSchemeMismatch) {
			plain = true
			return 0, nil
		}
		return 0, err
	})
	if err != nil {
		return false, fmt.Errorf("reach registry %s: %w", domain, err)
	}
	c.plain.Store(domain, plain)
	return plain, nil
}

// isLoopback tells whether a registry is on this machine by its name alone: a
// name that merely resolves to 127.0.0.1 may be anybody's.
func isLoopback(domain string) bool {
	host := domain
	if h, _, err := net.SplitHostPort(domain); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
