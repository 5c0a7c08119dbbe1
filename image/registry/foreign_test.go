package registry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/internal/imagetest"
	"github.com/joyboyid/xc/image/registry"
)

// certificate makes one for 127.0.0.1, signed by itself.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: b}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// Debian's registry with TLS and passwords: a login is tried and kept, an image
// pushed in several chunks, and to a second repository without sending it again;
// skopeo reads it there, for two platforms under one name.
func TestIntegrationPushToDockerRegistry(t *testing.T) {
	skopeo, htpasswd := program(t, "skopeo", "skopeo"), program(t, "htpasswd", "apache2-utils")
	dir := t.TempDir()
	users := filepath.Join(dir, "htpasswd")
	run(t, htpasswd, "-Bbc", users, "me", "s3cret")
	cert, key := certificate(t, dir)
	host := startRegistryWith(t, fmt.Sprintf("auth: {htpasswd: {realm: xc, path: %s}}\n", users), fmt.Sprintf("tls: {certificate: %s, key: %s}", cert, key))

	hosts := map[string]registry.Host{host: {CAs: []string{cert}}}
	credentials := registry.Credentials{Path: filepath.Join(dir, "docker", "config.json")}
	client := &registry.Client{Hosts: hosts, Credentials: credentials.Get, Chunk: 100 << 10, Retry: patient}
	ref := func(s string) image.Reference {
		r, err := image.ParseReference(host + "/" + s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	m, img := imported(t, amd64, 1<<20)
	p := &registry.Pusher{Images: m, Client: client}
	if _, err := p.Push(t.Context(), img, ref("a/b:1"), registry.PushOptions{}); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "log in") {
		t.Errorf("push without login: %v", err)
	}
	if err := client.Login(t.Context(), host, registry.Login{Username: "me", Password: "wrong"}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("false login: %v", err)
	}
	login := registry.Login{Username: "me", Password: "s3cret"}
	if err := errors.Join(client.Login(t.Context(), host, login), credentials.Put(t.Context(), host, login)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(credentials.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := p.Push(t.Context(), img, ref("a/b:1"), registry.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	// Into another repository, without sending it again.
	if err := m.Tag(t.Context(), img.Name, ref("a/b:1")); err != nil {
		t.Fatal(err)
	}
	var last registry.Phase
	if _, err := p.Push(t.Context(), img, ref("c/d:1"), registry.PushOptions{Progress: func(e registry.Event) { last = e.Phase }}); err != nil || last != registry.FromOther {
		t.Errorf("%s, %v", last, err)
	}
	other, arm := imported(t, arm64, 1000)
	if _, err := (&registry.Pusher{Images: other, Client: client}).Push(t.Context(), arm, ref("c/d:1"), registry.PushOptions{Index: true}); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		var seen struct{ Architecture string }
		out := run(t, skopeo, "--override-arch", arch, "inspect", "--tls-verify=false", "--creds", "me:s3cret", "docker://"+ref("c/d:1").String())
		if err := json.Unmarshal(out, &seen); err != nil || seen.Architecture != arch {
			t.Errorf("%s: skopeo sees %+v, %v", arch, seen, err)
		}
	}
	run(t, skopeo, "--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--src-creds", "me:s3cret", "docker://"+ref("c/d:1").String(), "dir:"+filepath.Join(dir, "copy"))
	// And back, with what config.json has.
	to, _ := imagetest.Open(t)
	got, err := (&registry.Puller{Images: to, Client: client}).Pull(t.Context(), ref("c/d:1"), options())
	if err != nil || got.Manifest.Digest != img.Manifest.Digest {
		t.Errorf("%+v, %v", got, err)
	}
	sound(t, to)
	if err := credentials.Delete(t.Context(), host); err != nil {
		t.Error(err)
	}
	if err := credentials.Delete(t.Context(), host); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("logged out twice: %v", err)
	}
	if _, err := (&registry.Client{Hosts: hosts, Credentials: credentials.Get}).Manifest(t.Context(), ref("c/d:1")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("without login: %v", err)
	}
}

// The connection to Debian's registry is cut in the middle of an upload, once
// before and once after what was sent has arrived: it goes on, and what arrives
// is whole.
func TestIntegrationUploadCut(t *testing.T) {
	skopeo := program(t, "skopeo", "skopeo")
	host := startRegistry(t)
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	forward.ErrorLog = log.New(io.Discard, "", 0)
	patches := 0
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			patches++
			switch patches {
			case 2: // half of it arrives
				body := r.Body
				r.Body = io.NopCloser(io.MultiReader(io.LimitReader(body, r.ContentLength/2), broken{}))
				forward.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			case 4: // all of it arrives, the answer does not
				forward.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
		}
		forward.ServeHTTP(w, r)
	}))
	proxy.Config.ErrorLog = forward.ErrorLog
	defer proxy.Close()
	m, img := imported(t, amd64, 2<<20)
	ref, err := image.ParseReference(proxy.Listener.Addr().String() + "/a/b:1")
	if err != nil {
		t.Fatal(err)
	}
	p := &registry.Pusher{Images: m, Client: &registry.Client{Retry: patient, Chunk: 256 << 10}, Parallel: 1}
	if _, err := p.Push(t.Context(), img, ref, registry.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	if patches < 8 {
		t.Errorf("%d requests for %d bytes", patches, img.Layers[0].Blob.Size)
	}
	run(t, skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+host+"/a/b:1", "dir:"+filepath.Join(t.TempDir(), "copy"))
}

// broken is a connection that was cut.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
