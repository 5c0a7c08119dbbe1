package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/freebsd/pf"
)

// redirected are the connections that came to a site by redirections. The kernel
// counts for each rule, from when it was loaded, and they are loaded anew whenever
// one changes: what was counted until then is kept in a file of the site's directory.
type redirected struct {
	Keys []string          `json:"keys"` // of the redirections that are loaded, in their order
	Base map[string]uint64 `json:"base"` // what each has had before
}

func (h *Host) countsPath(id string) string { return filepath.Join(h.cfg.SitesDir, id, "redirected") }

// counts reads the file and what the kernel has counted since.
func (h *Host) counts(id string) (r redirected, now []uint64, err error) {
	b, err := os.ReadFile(h.countsPath(id))
	if err == nil {
		err = json.Unmarshal(b, &r)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return r, nil, fmt.Errorf("counts of redirections: %w", err)
	}
	now, err = pf.Counts(context.Background(), h.anchor(id))
	return r, now, err
}

// total is what each of the redirections has had, by its key.
func (r redirected) total(now []uint64) map[string]uint64 {
	sum := map[string]uint64{}
	for i, key := range r.Keys {
		sum[key] = r.Base[key]
		if i < len(now) {
			sum[key] += now[i]
		}
	}
	return sum
}

// load puts redirections into the anchor of a site and lets the counts of those that
// stay go on. Cut off, it leaves none rather than wrong ones.
func (h *Host) load(ctx context.Context, id string, list []pf.Redirect, publish []Publish) error {
	was, now, err := h.counts(id)
	if err != nil {
		return err
	}
	next := redirected{Base: map[string]uint64{}}
	sum := was.total(now)
	for _, p := range publish {
		key := fmt.Sprint(p, p.Interface, p.Sources)
		next.Keys = append(next.Keys, key)
		next.Base[key] = sum[key]
	}
	if err := h.forgetCounts(id); err != nil {
		return err
	}
	if err := pf.Load(ctx, h.anchor(id), list); err != nil {
		return err
	}
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	draft := h.countsPath(id) + ".new"
	if err := os.WriteFile(draft, b, 0o600); err != nil {
		return err
	}
	return os.Rename(draft, h.countsPath(id))
}

// forgetCounts removes the file.
func (h *Host) forgetCounts(id string) error {
	if err := os.Remove(h.countsPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Redirected tells how many connections came to a site by its redirections, in
// their order.
func (h *Host) Redirected(id string) ([]uint64, error) {
	if !pf.Loaded() {
		return nil, nil
	}
	r, now, err := h.counts(id)
	for i := range now {
		if i < len(r.Keys) {
			now[i] += r.Base[r.Keys[i]]
		}
	}
	return now, err
}
