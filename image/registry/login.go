package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// Login is who to be at a registry. With Token alone it is an identity token.
type Login struct {
	Username string
	Password string
	Token    string
}

// Credentials are logins as Docker keeps them: in its config.json, or in the
// credential helpers that are named there.
type Credentials struct {
	Path string // of the file, which need not be there
}

// DockerCredentials returns the logins of Docker's config.json at path, as a
// Client asks for them. The file is read anew each time.
func DockerCredentials(path string) (auth.CredentialFunc, error) {
	c := Credentials{path}
	if _, err := c.open(); err != nil {
		return nil, err
	}
	return c.Get, nil
}

func (c Credentials) open() (*credentials.DynamicStore, error) {
	store, err := credentials.NewStore(c.Path, credentials.StoreOptions{AllowPlaintextPut: true})
	if err != nil {
		return nil, fmt.Errorf("read registry credentials %s: %w", c.Path, err)
	}
	return store, nil
}

// Get is an auth.CredentialFunc.
func (c Credentials) Get(ctx context.Context, host string) (auth.Credential, error) {
	store, err := c.open()
	if err != nil {
		return auth.EmptyCredential, err
	}
	cred, err := credentials.Credential(store)(ctx, host)
	if err != nil { // of a helper
		return auth.EmptyCredential, fmt.Errorf("login of %s in %s: %w", host, c.Path, err)
	}
	return cred, nil
}

// Put keeps a login. The file is made readable to its owner only.
func (c Credentials) Put(ctx context.Context, domain string, l Login) error {
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		return fmt.Errorf("keep login: %w", err)
	}
	store, err := c.open()
	if err != nil {
		return err
	}
	cred := auth.Credential{Username: l.Username, Password: l.Password, RefreshToken: l.Token}
	if err := store.Put(ctx, credentials.ServerAddressFromRegistry(domain), cred); err != nil {
		return fmt.Errorf("keep login of %s in %s: %w", domain, c.Path, err)
	}
	if err := os.Chmod(c.Path, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) { // a helper needs none
		return fmt.Errorf("keep login: %w", err)
	}
	return nil
}

// Delete forgets a login. The error matches fs.ErrNotExist if there is none.
func (c Credentials) Delete(ctx context.Context, domain string) error {
	store, err := c.open()
	if err != nil {
		return err
	}
	key := credentials.ServerAddressFromRegistry(domain)
	cred, err := store.Get(ctx, key)
	if err == nil && cred == auth.EmptyCredential {
		err = fs.ErrNotExist
	}
	if err == nil {
		err = store.Delete(ctx, key)
	}
	if err != nil {
		return fmt.Errorf("login of %s in %s: %w", domain, c.Path, err)
	}
	return nil
}

// Login asks a registry whether it takes a login. The error of one that it does
// not take matches fs.ErrPermission.
func (c *Client) Login(ctx context.Context, domain string, l Login) error {
	if err := c.init(); err != nil {
		return err
	}
	ref := registry.Reference{Registry: domain}
	if err := ref.ValidateRegistry(); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	plain, err := c.speaksPlain(ctx, domain)
	if err != nil {
		return fmt.Errorf("log in to %s: %w", domain, err)
	}
	scheme := "https"
	if plain {
		scheme = "http"
	}
	own := c.authorised(auth.StaticCredential(ref.Host(), auth.Credential{Username: l.Username, Password: l.Password, RefreshToken: l.Token}))
	err = c.Retry.do(ctx, func(ctx context.Context, _ func()) (int64, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+ref.Host()+"/v2/", nil)
		if err != nil {
			return 0, err
		}
		resp, err := own.Do(req)
		if err != nil {
			return 0, authError(err)
		}
		if resp.StatusCode != http.StatusOK {
			err = statusError(resp)
		}
		return 0, errors.Join(err, resp.Body.Close())
	})
	if err != nil {
		return fmt.Errorf("log in to %s: %w", domain, err)
	}
	return nil
}
