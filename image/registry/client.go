package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/joyboyid/xc/image"
)

// Host says how to speak to a registry. The zero value: by https, verified
// against the authorities that this machine trusts.
type Host struct {
	PlainHTTP  bool     // http instead of https
	SkipVerify bool     // believe any certificate
	CAs        []string // files of PEM certificates to trust beside those of this machine
	Cert, Key  string   // files of the certificate to show, PEM; both or none

	// Mirrors are asked first, in this order, for what is pulled from the
	// registry: HOST[:PORT][/PREFIX]. They need entries of their own in Hosts if
	// something has to be said about them.
	Mirrors []string
}

// tls is the host's part of a transport, nil if there is nothing to say.
func (h Host) tls() (*tls.Config, error) {
	if !h.SkipVerify && len(h.CAs) == 0 && h.Cert == "" && h.Key == "" {
		return nil, nil
	}
	c := &tls.Config{InsecureSkipVerify: h.SkipVerify}
	if len(h.CAs) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, err
		}
		for _, name := range h.CAs {
			pem, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			if !pool.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("%s: there is no certificate in it", name)
			}
		}
		c.RootCAs = pool
	}
	if (h.Cert == "") != (h.Key == "") {
		return nil, errors.New("a certificate and its key go together")
	}
	if h.Cert != "" {
		pair, err := tls.LoadX509KeyPair(h.Cert, h.Key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// byHost is a transport with some of their own for some hosts.
type byHost struct {
	http.RoundTripper
	own map[string]http.RoundTripper
}

func (t byHost) RoundTrip(req *http.Request) (*http.Response, error) {
	if own, ok := t.own[req.URL.Host]; ok {
		return own.RoundTrip(req)
	}
	return t.RoundTripper.RoundTrip(req)
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

	// Transport does the requests; nil: a copy of http.DefaultTransport. To hosts
	// that have certificates of their own in Hosts, a copy of that goes.
	Transport http.RoundTripper

	UserAgent string // "xc" if empty
	Retry     Retry
	Chunk     int64 // bytes of a blob that one request uploads; 16 MiB if 0

	once  sync.Once
	err   error // of the configuration
	http  *http.Client
	auth  atomic.Pointer[auth.Client] // remembers tokens: see Forget
	plain sync.Map                    // host to bool: what loopback registries turned out to speak
}

func (c *Client) init() error {
	c.once.Do(func() {
		var transport http.RoundTripper
		if transport, c.err = c.transport(); c.err != nil {
			return
		}
		c.http = &http.Client{Transport: transport, CheckRedirect: checkRedirect}
		c.auth.Store(c.authorised(c.Credentials))
	})
	return c.err
}

// authorised is the client with a login of its own.
func (c *Client) authorised(login auth.CredentialFunc) *auth.Client {
	a := &auth.Client{Client: c.http, Credential: login, Cache: auth.NewCache()}
	agent := c.UserAgent
	if agent == "" {
		agent = "xc"
	}
	a.SetUserAgent(agent)
	return a
}

// Forget forgets what registries were told and have given: the next requests ask
// Credentials again. Call it when those have changed.
func (c *Client) Forget() error {
	err := c.init()
	if err == nil {
		c.auth.Store(c.authorised(c.Credentials))
	}
	return err
}

// Check tells what is wrong with the configuration: files that cannot be read,
// keys that do not fit.
func (c *Client) Check() error { return c.init() }

func (c *Client) transport() (http.RoundTripper, error) {
	base := c.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	common, copies := base.(*http.Transport)
	if copies && c.Transport == nil {
		base = common.Clone()
	}
	own := map[string]http.RoundTripper{}
	for name, h := range c.Hosts {
		conf, err := h.tls()
		if err != nil {
			return nil, fmt.Errorf("registry %s: %w", name, err)
		}
		if conf == nil {
			continue
		}
		if !copies {
			return nil, fmt.Errorf("registry %s: certificates of a host need a Transport that is an *http.Transport: %w", name, errors.ErrUnsupported)
		}
		t := common.Clone()
		t.TLSClientConfig = conf
		own[registry.Reference{Registry: name}.Host()] = t
	}
	if len(own) == 0 {
		return base, nil
	}
	return byHost{base, own}, nil
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
	if err := c.init(); err != nil {
		return endpoint{}, err
	}
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
	if h, ok := c.Hosts[domain]; ok && (h.PlainHTTP || h.SkipVerify || len(h.CAs) > 0 || h.Cert != "") {
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
