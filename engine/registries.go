package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/image"
	"github.com/joyboyid/xc/image/registry"
)

// client makes the client of registries that the configuration describes.
func (c Config) client() (*registry.Client, error) {
	hosts := map[string]registry.Host{}
	for name, r := range c.Registries {
		hosts[name] = registry.Host(r)
	}
	client := &registry.Client{Hosts: hosts, Credentials: registry.Credentials{Path: c.Credentials}.Get}
	return client, client.Check()
}

// references are what an image's name may stand for.
func (e *Engine) references(name string) ([]image.Reference, error) {
	return image.References(name, e.cfg.Search)
}

// relay carries out work whose events must not block, and hands them to
// somebody who may. Between them, counts of bytes are dropped when there are
// too many. An error of progress ends the work.
func relay(ctx context.Context, progress func(api.PullProgress) error, work func(ctx context.Context, emit func(registry.Event)) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	events := make(chan registry.Event, 256)
	var err error
	go func() {
		defer close(events)
		err = work(ctx, func(ev registry.Event) {
			counts := ev.Phase == registry.Downloading || ev.Phase == registry.Uploading
			if counts && len(events) > cap(events)/2 {
				return
			}
			events <- ev
		})
	}()
	for ev := range events {
		if progress == nil || ctx.Err() != nil {
			continue
		}
		p := api.PullProgress{Layer: ev.Layer.String(), Phase: string(ev.Phase), Current: ev.Current, Total: ev.Total}
		if err := progress(p); err != nil {
			cancel(err)
		}
	}
	return err
}

// PushImage implements api.Images.
func (e *Engine) PushImage(ctx context.Context, name string, opt api.PushOptions, progress func(api.PullProgress) error) (api.PushedImage, error) {
	if err := e.begin(); err != nil {
		return api.PushedImage{}, err
	}
	defer e.end()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(errClosed) })()
	img, err := e.lookUp(ctx, name)
	if err != nil {
		return api.PushedImage{}, err
	}
	to := img.Name
	if opt.Name != "" {
		if to, err = image.ParseReference(opt.Name); err != nil {
			return api.PushedImage{}, err
		}
	}
	img, lease, err := e.images.images.Acquire(ctx, img.Name)
	if err != nil {
		return api.PushedImage{}, err
	}
	defer lease.Release()
	var done registry.Pushed
	err = relay(ctx, progress, func(ctx context.Context, emit func(registry.Event)) error {
		p := registry.Pusher{Images: e.images.images, Client: e.images.puller.Client}
		done, err = p.Push(ctx, img, to, registry.PushOptions{Index: opt.Index, Progress: emit})
		return err
	})
	if err != nil {
		return api.PushedImage{}, err
	}
	e.tell(imageEvent(api.EventPush, done.Manifest.String(), to.String()))
	return api.PushedImage{Name: to.String(), Digest: done.Manifest.String(), Index: done.Index.String()}, nil
}

// domain is the registry that a user means: a host, or nothing for docker.io.
func domain(name string) (string, error) {
	for _, scheme := range []string{"https://", "http://"} { // as Docker's users may write it
		name = strings.TrimPrefix(name, scheme)
	}
	name = strings.TrimSuffix(name, "/")
	if name == "" || name == "index.docker.io" || name == "index.docker.io/v1" || name == "registry-1.docker.io" {
		name = "docker.io"
	}
	if _, err := image.ParseReference(name + "/a"); err != nil || strings.ContainsRune(name, '/') {
		return "", fmt.Errorf("registry %q: %w: expected HOST or HOST:PORT", name, fs.ErrInvalid)
	}
	return name, nil
}

// Login implements api.Images.
func (e *Engine) Login(ctx context.Context, spec api.LoginSpec) (string, error) {
	if err := e.begin(); err != nil {
		return "", err
	}
	defer e.end()
	name, err := domain(spec.Registry)
	if err != nil {
		return "", err
	}
	l := registry.Login{Username: spec.Username, Password: spec.Password}
	if l.Username == "" || l.Password == "" {
		return "", fmt.Errorf("log in to %s: %w: a name and a password are needed", name, fs.ErrInvalid)
	}
	if err := e.images.puller.Client.Login(ctx, name, l); err != nil {
		return "", err
	}
	e.images.login.Lock()
	defer e.images.login.Unlock()
	err = registry.Credentials{Path: e.cfg.Credentials}.Put(ctx, name, l)
	return name, errors.Join(err, e.images.puller.Client.Forget())
}

// Logout implements api.Images.
func (e *Engine) Logout(ctx context.Context, name string) (string, error) {
	if err := e.begin(); err != nil {
		return "", err
	}
	defer e.end()
	name, err := domain(name)
	if err != nil {
		return "", err
	}
	e.images.login.Lock()
	defer e.images.login.Unlock()
	err = registry.Credentials{Path: e.cfg.Credentials}.Delete(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("not logged in to %s: %w", name, fs.ErrNotExist)
	}
	return name, errors.Join(err, e.images.puller.Client.Forget())
}
