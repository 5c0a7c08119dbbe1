package runloop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/joyboyid/xc/site/control"
)

// Config is what a run loop needs to know.
type Config struct {
	ID       string          `json:"id"`                  // of the site
	Dir      string          `json:"dir"`                 // absolute: the site's state directory, which gets the exit record
	LogPath  string          `json:"log_path,omitempty"`  // absolute: see package logfile; empty: nothing is logged
	LogMax   int64           `json:"log_max,omitempty"`   // bytes, at which a new log file is begun; 0: never
	LogFiles int             `json:"log_files,omitempty"` // log files to keep, the current one included
	Tenant   json.RawMessage `json:"tenant"`              // for the function that opens the tenant
}

// maxConfig bounds the configuration, in bytes.
const maxConfig = 4 << 20

func readConfig(r io.Reader) (Config, error) {
	var c Config
	b, err := io.ReadAll(io.LimitReader(r, maxConfig+1))
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	if len(b) > maxConfig {
		return c, fmt.Errorf("configuration of more than %d bytes: %w", maxConfig, fs.ErrInvalid)
	}
	// What it does not know it must not leave out: it is of an older release than the
	// engine that starts it.
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	for name, path := range map[string]string{"dir": c.Dir, "log_path": c.LogPath} {
		if !filepath.IsAbs(path) && (name == "dir" || path != "") {
			return c, fmt.Errorf("configuration: %s %q is not absolute: %w", name, path, fs.ErrInvalid)
		}
	}
	if c.ID == "" {
		return c, fmt.Errorf("configuration: no id: %w", fs.ErrInvalid)
	}
	return c, nil
}

// ExitFile is the name of the exit record in a site's state directory.
const ExitFile = "exit.json"

// ReadExit reads the exit record in dir. It is fs.ErrNotExist when the run
// loop was killed, when it has ended without having started main, and when a
// power cut has come before the record was on the disk.
func ReadExit(dir string) (control.Exit, error) {
	var e control.Exit
	b, err := os.ReadFile(filepath.Join(dir, ExitFile))
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return control.Exit{}, fmt.Errorf("exit record of %s: %w: %w", dir, fs.ErrNotExist, err)
	}
	return e, nil
}

// syncDir makes a rename durable. While a directory is open nothing can be started in
// a jail (jail_attach(2)): loop.retire has waited for the starts that were under way,
// and lets none follow.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// writeExit puts the exit record in place with one rename. Synced it survives
// a power cut too.
func writeExit(dir string, e control.Exit, sync bool) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, ExitFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("exit record: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil && sync {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("exit record: %w", err)
	}
	return nil
}
