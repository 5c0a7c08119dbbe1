package cli_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/inroot"
	"github.com/joyboyid/xc/ocitar"
)

func (f *fake) StatContainer(_ context.Context, name, file string, follow bool) (api.File, error) {
	f.note("stat %s %s %v", name, file, follow)
	stat := os.Lstat
	if follow {
		stat = os.Stat
	}
	fi, err := stat(f.root + "/" + file)
	if err != nil {
		return api.File{}, &fs.PathError{Op: "stat", Path: file, Err: errors.Unwrap(err)}
	}
	out := api.File{Path: path.Join("/", file), Type: "file"}
	if fi.IsDir() {
		out.Type = "dir"
	}
	return out, nil
}

func (f *fake) CopyFromContainer(ctx context.Context, _ string, opt api.CopyFrom) ([]string, error) {
	root, err := inroot.Open(f.root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file := path.Clean("/" + opt.Path)
	if opt.Follow {
		if file, err = root.Look(file); err != nil {
			return nil, err
		}
	}
	top := strings.TrimPrefix(file, "/")
	p := ocitar.Packer{Name: func(name string) string { return path.Join(opt.As, strings.TrimPrefix(name, top)) }}
	_, err = p.PackFrom(ctx, opt.Archive, root, ocitar.TreeAt(root, top, nil))
	return nil, err
}

func (f *fake) CopyToContainer(ctx context.Context, _ string, opt api.CopyTo) ([]string, error) {
	f.note("owners %v", opt.Owners)
	if fi, err := os.Stat(f.root + "/" + opt.Path); err != nil || !fi.IsDir() {
		return nil, errors.Join(err, fs.ErrNotExist)
	}
	u := ocitar.Unpacker{Into: strings.TrimPrefix(opt.Path, "/"), Merge: true, NoOwner: true}
	_, err := u.Unpack(ctx, f.root, opt.Archive)
	return []string{"a note"}, err
}
