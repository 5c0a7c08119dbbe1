package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Config says where an engine lives and how. The zero value is an engine in
// the standard directories, with root file systems in directories.
type Config struct {
	StateDir string // database, images, roots, records; "/var/db/xc" when empty
	RunDir   string // sockets of the run loops; "/var/run/xc" when empty
	LogsDir  string // logs of the containers; "logs" below StateDir when empty

	// FreeBSD: datasets for the roots of images and of containers. Both or
	// none; without them the roots are directories below StateDir.
	ImageDataset     string
	ContainerDataset string
	// VolumeDataset is the ZFS dataset for volumes; without it they are directories
	// below StateDir.
	VolumeDataset string
	// DevfsOffset is the first devfs(8) ruleset number the engine may use;
	// 1000 when 0.
	DevfsOffset int

	LogMax   int64 // bytes of a container's log file before it is rotated; 16 MiB when 0
	LogFiles int   // log files kept per container, the current one included; 2 when 0

	EventsMax int           // events kept; 10000 when 0
	EventsAge time.Duration // age of the oldest of those; any when 0

	// Registries has settings by host name.
	Registries map[string]Registry
	// Search lists where names without a registry are looked for, in this order:
	// registries, with or without a path; docker.io when empty.
	Search []string
	// Credentials is the path of a file with credentials for registries as
	// Docker keeps them (config.json), where Login puts its own;
	// "credentials.json" below StateDir when empty. It need not be there.
	Credentials string

	// RunLoop and Ocitar name the helper programs and their first arguments.
	// When nil, the engine looks for xc-runloop and ocitar beside its own
	// executable, then in PATH; after a call of Main it starts itself.
	RunLoop []string
	Ocitar  []string

	// Spare keeps one run loop ready, so that the next container starts in half
	// the time. It costs about 2 MB of memory. On ZFS a root is kept ready with it
	// once two containers in a row were made of the same image.
	Spare bool

	// Trace, when not nil, is called at every point where a crash could
	// matter: before and after each plan, acquisition and undo. Tests kill
	// the process there.
	Trace func(point string)

	// Report, when not nil, is told what no caller is there to be told:
	// failures of recovery, of cleaning up after a container that ended.
	Report func(err error)
}

// Registry is how to speak to a registry.
type Registry struct {
	PlainHTTP  bool     // HTTP without TLS; loopback addresses need no setting
	SkipVerify bool     // believe any certificate
	CAs        []string // files of certificates to trust beside those of this host
	Cert, Key  string   // files of the certificate to show; both or none
	Mirrors    []string // asked first for what is pulled: HOST[:PORT][/PREFIX]
}

func (c Config) filled() (Config, error) {
	if c.StateDir == "" {
		c.StateDir = "/var/db/xc"
	}
	if c.RunDir == "" {
		c.RunDir = "/var/run/xc"
	}
	if c.LogsDir == "" {
		c.LogsDir = filepath.Join(c.StateDir, "logs")
	}
	if c.Credentials == "" {
		c.Credentials = filepath.Join(c.StateDir, "credentials.json")
	}
	for _, dir := range []*string{&c.StateDir, &c.RunDir, &c.LogsDir, &c.Credentials} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return c, err
		}
		*dir = abs
	}
	if (c.ImageDataset == "") != (c.ContainerDataset == "") {
		return c, errors.New("image_dataset and container_dataset go together: set both or none")
	}
	if c.DevfsOffset == 0 {
		c.DevfsOffset = 1000
	}
	if c.LogMax == 0 {
		c.LogMax = 16 << 20
	}
	if c.LogFiles == 0 {
		c.LogFiles = 2
	}
	if c.Report == nil {
		c.Report = func(error) {}
	}
	var err error
	if c.RunLoop, err = helper(c.RunLoop, runLoopName, "RunLoop"); err != nil {
		return c, err
	}
	c.Ocitar, err = helper(c.Ocitar, ocitarName, "Ocitar")
	return c, err
}

// helper finds a helper program: as configured, in this very executable,
// beside it, or in PATH. The first element of the result is a path, the
// second is argv[0].
func helper(configured []string, name, field string) ([]string, error) {
	if len(configured) > 0 {
		path, err := exec.LookPath(configured[0])
		if err != nil {
			return nil, fmt.Errorf("helper program %s: %w", configured[0], err)
		}
		return append([]string{path, name}, configured[1:]...), nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the engine's own executable: %w", err)
	}
	if selfContained {
		return []string{self, name, asHelper + name}, nil
	}
	if path := filepath.Join(filepath.Dir(self), name); isExecutable(path) {
		return []string{path, name}, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("helper program %s is neither beside %s nor in PATH: install it there, set Config.%s, or call engine.Main first thing in main: %w", name, self, field, err)
	}
	return []string{path, name}, nil
}

func isExecutable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}
