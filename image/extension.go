package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
)

// ExtensionLabel is the label of an image's configuration under which xc's
// extension is, as JSON. Other tools keep labels and ignore this one.
const ExtensionLabel = "io.github.joyboyid.xc"

// maxDeinit bounds the time for deinit commands, in seconds: an hour.
const maxDeinit = 60 * 60

// maxExtension bounds the extension, in bytes.
const maxExtension = 64 << 10

// Extension is what an image says that OCI's configuration has no words for:
// docs/image-extension.md. What widens a container's rights is only ever asked
// for: who runs it grants that, or it does not run.
type Extension struct {
	Version int `json:"version"` // 1

	// RequiredEnv are the variables without which the image is of no use.
	RequiredEnv []Variable `json:"required_env,omitempty"`

	Allow       []string `json:"allow,omitempty"`       // FreeBSD: asks for allow.NAME of jail(8)
	Datasets    int      `json:"datasets,omitempty"`    // FreeBSD: asks for so many datasets to administer
	SysVIPC     string   `json:"sysvipc,omitempty"`     // "new", or asks for "inherit"; FreeBSD: without it there is none
	SecureLevel *int     `json:"securelevel,omitempty"` // FreeBSD: security(7), 0 to 3; -1 is asked for
	VNET        bool     `json:"vnet,omitempty"`        // it needs a network stack of its own
	Devices     []string `json:"devices,omitempty"`     // FreeBSD: asks for devices, as globs below /dev: "dri/*"

	// SpecialMounts are file systems that the kernel makes up: Procfs, Fdescfs.
	SpecialMounts []string `json:"special_mounts,omitempty"`

	// Mounts are places in the root that are not to be part of it.
	Mounts []ExtensionMount `json:"mounts,omitempty"`

	// Init are run in the container before main, Deinit after it.
	Init          []Command `json:"init,omitempty"`
	Deinit        []Command `json:"deinit,omitempty"`
	DeinitTimeout int       `json:"deinit_timeout,omitempty"` // seconds, of all of Deinit together
}

// Command is a program to run.
type Command struct {
	Args []string `json:"args"`
	User string   `json:"user,omitempty"` // that of the container when empty
}

// ExtensionMount is a place in the root on which something is to be mounted. Its
// flags hold for whatever that is.
type ExtensionMount struct {
	Name        string `json:"name"`                  // that who runs it can say instead of Destination
	Destination string `json:"destination"`           // absolute
	Description string `json:"description,omitempty"` // one line, for who has to give it
	Type        string `json:"type,omitempty"`        // what it is where nothing is given: "volume", the default, or "tmpfs"
	Required    bool   `json:"required,omitempty"`    // it has to be given
	ReadOnly    bool   `json:"read_only,omitempty"`
	NoSUID      bool   `json:"nosuid,omitempty"`
	NoExec      bool   `json:"noexec,omitempty"`
	Size        int64  `json:"size,omitempty"` // of a tmpfs, bytes
}

// Types of an ExtensionMount.
const (
	MountVolume = "volume"
	MountTmpfs  = "tmpfs"
)

// Values of Extension.SpecialMounts. Linux has both anyway.
const (
	Procfs  = "procfs"  // on /proc
	Fdescfs = "fdescfs" // on /dev/fd, where every container has it
)

// Variable is an environment variable.
type Variable struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"` // one line, for who has to set it
}

// Values of Extension.SysVIPC.
const (
	SysVNew     = "new"
	SysVInherit = "inherit"
)

var (
	variableRule = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,255}$`)
	mountRule    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)
	deviceRule   = regexp.MustCompile(`^[A-Za-z0-9_*?.-]+(/[A-Za-z0-9_*?.-]+)*$`)
	allowRule    = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`)
)

// ParseExtension reads the extension from the labels of a configuration. It is
// nil if there is none. A key that is unknown is an error: what an image needs
// is not to be ignored.
func ParseExtension(labels map[string]string) (*Extension, error) {
	text, ok := labels[ExtensionLabel]
	if !ok {
		return nil, nil
	}
	var x Extension
	if err := x.parse(text); err != nil {
		return nil, fmt.Errorf("label %s: %w", ExtensionLabel, err)
	}
	return &x, nil
}

func (x *Extension) parse(text string) error {
	if len(text) > maxExtension {
		return fmt.Errorf("%d bytes, at most %d are accepted", len(text), maxExtension)
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(x); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	return x.check()
}

func (x *Extension) check() error {
	switch {
	case x.Version != 1:
		return fmt.Errorf("version %d: only version 1 is known", x.Version)
	case x.Datasets < 0 || x.Datasets > 64:
		return fmt.Errorf("datasets: %d is not from 0 to 64", x.Datasets)
	case !slices.Contains([]string{"", SysVNew, SysVInherit}, x.SysVIPC):
		return fmt.Errorf("sysvipc: %.50q is neither %q nor %q", x.SysVIPC, SysVNew, SysVInherit)
	case x.SecureLevel != nil && (*x.SecureLevel < -1 || *x.SecureLevel > 3):
		return fmt.Errorf("securelevel: %d is not from -1 to 3", *x.SecureLevel)
	}
	if x.DeinitTimeout < 0 || x.DeinitTimeout > maxDeinit {
		return fmt.Errorf("deinit_timeout: %d is not from 1 to %d seconds", x.DeinitTimeout, maxDeinit)
	}
	for _, c := range slices.Concat(x.Init, x.Deinit) {
		if len(c.Args) == 0 || c.Args[0] == "" {
			return errors.New("init, deinit: a command names no program")
		}
		if strings.ContainsRune(strings.Join(append(slices.Clone(c.Args), c.User), ""), 0) {
			return fmt.Errorf("init, deinit: %.50q: there is a NUL in the command", c.Args)
		}
	}
	for _, v := range x.RequiredEnv {
		if !variableRule.MatchString(v.Name) {
			return fmt.Errorf("required_env: %.50q is no name of a variable", v.Name)
		}
		if !oneLine(v.Description) {
			return fmt.Errorf("required_env: the description of %s is not one line of at most 256 bytes", v.Name)
		}
	}
	for _, a := range x.Allow {
		if len(a) > 100 || !allowRule.MatchString(a) {
			return fmt.Errorf("allow: %.50q is no parameter of jail(8), without its allow", a)
		}
	}
	for _, d := range x.Devices {
		if len(d) > 100 || !deviceRule.MatchString(d) || path.Clean("/"+d) != "/"+d {
			return fmt.Errorf("devices: %.50q is no path below /dev, in which * and ? stand for others", d)
		}
	}
	for _, m := range x.SpecialMounts {
		if m != Procfs && m != Fdescfs {
			return fmt.Errorf("special_mounts: %.50q is neither %q nor %q", m, Procfs, Fdescfs)
		}
	}
	return x.checkMounts()
}

// maxMounts bounds the mounts of an extension.
const maxMounts = 64

func (x *Extension) checkMounts() error {
	if len(x.Mounts) > maxMounts {
		return fmt.Errorf("mounts: %d, at most %d are accepted", len(x.Mounts), maxMounts)
	}
	seen := map[string]bool{}
	for _, m := range x.Mounts {
		switch {
		case !mountRule.MatchString(m.Name):
			return fmt.Errorf("mounts: %.50q is no name: letters, digits, '_', '.' and '-', 63 at the most", m.Name)
		case !path.IsAbs(m.Destination) || path.Clean(m.Destination) != m.Destination || m.Destination == "/" || len(m.Destination) > 1024 || strings.ContainsRune(m.Destination, 0):
			return fmt.Errorf("mounts: the destination %.50q of %s is no absolute path in its shortest form", m.Destination, m.Name)
		case seen[m.Name] || seen[m.Destination]:
			return fmt.Errorf("mounts: %s or its destination is there twice", m.Name)
		case !slices.Contains([]string{"", MountVolume, MountTmpfs}, m.Type):
			return fmt.Errorf("mounts: the type %.50q of %s is neither %q nor %q", m.Type, m.Name, MountVolume, MountTmpfs)
		case m.Size < 0 || m.Size > 0 && m.Type != MountTmpfs:
			return fmt.Errorf("mounts: the size %d of %s: it is for a %s, from 0", m.Size, m.Name, MountTmpfs)
		case !oneLine(m.Description):
			return fmt.Errorf("mounts: the description of %s is not one line of at most 256 bytes", m.Name)
		}
		seen[m.Name], seen[m.Destination] = true, true
	}
	return nil
}

func oneLine(s string) bool {
	return len(s) <= 256 && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Missing are the required variables that an environment does not set.
func (x *Extension) Missing(env []string) []Variable {
	var missing []Variable
	for _, v := range x.RequiredEnv {
		if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, v.Name+"=") }) {
			missing = append(missing, v)
		}
	}
	return missing
}
