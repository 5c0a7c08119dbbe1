package image

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	ispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ParsePlatform reads os/arch[/variant], with the names that GOOS and GOARCH
// have and the usual others (x86_64, aarch64).
func ParsePlatform(s string) (ispec.Platform, error) {
	parts := strings.Split(s, "/")
	if len(s) > 128 || len(parts) < 2 || len(parts) > 3 {
		return ispec.Platform{}, fmt.Errorf("parse platform %.128q: expected os/arch or os/arch/variant", s)
	}
	for _, p := range parts {
		if p == "" || strings.Trim(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			return ispec.Platform{}, fmt.Errorf("parse platform %q: %q is not a name", s, p)
		}
	}
	p := ispec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return normalize(p), nil
}

// FormatPlatform writes os/arch[/variant], and the os.version in brackets after
// the os where there is one: freebsd(14.3)/amd64.
func FormatPlatform(p ispec.Platform) string {
	s := cmp.Or(p.OS, "unknown")
	if p.OSVersion != "" {
		s += "(" + p.OSVersion + ")"
	}
	s += "/" + cmp.Or(p.Architecture, "unknown")
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// normalize maps the names in use to those of GOOS and GOARCH and drops the
// variant that is the base line of its architecture.
func normalize(p ispec.Platform) ispec.Platform {
	p.OS = strings.ToLower(p.OS)
	p.Architecture = strings.ToLower(p.Architecture)
	p.Variant = strings.ToLower(p.Variant)
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "i386", "i686", "x86":
		p.Architecture = "386"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf", "armv7":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel", "armv6":
		p.Architecture, p.Variant = "arm", "v6"
	}
	switch {
	case p.Architecture == "amd64" && p.Variant == "v1",
		p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "8"):
		p.Variant = ""
	case p.Architecture == "arm" && p.Variant == "":
		p.Variant = "v7"
	}
	return p
}

// level is how far above the base line a variant is; ok is false for those that
// have no order.
func level(p ispec.Platform) (n int, ok bool) {
	if p.Variant == "" {
		return 0, true
	}
	n, err := strconv.Atoi(strings.TrimPrefix(p.Variant, "v"))
	return n, err == nil && n > 0
}

// Match tells whether a host that runs want can run p, both with or without
// variant: the variant may be lower than wanted, never higher. What p leaves
// out matches.
func Match(want, p ispec.Platform) bool {
	want, p = normalize(want), normalizeGiven(p)
	if p.OS != "" && p.OS != want.OS || p.Architecture != "" && p.Architecture != want.Architecture {
		return false
	}
	if p.Variant == want.Variant || p.Variant == "" {
		return true
	}
	has, ok1 := level(p)
	most, ok2 := level(want)
	return ok1 && ok2 && has <= most
}

// normalizeGiven leaves a missing architecture missing.
func normalizeGiven(p ispec.Platform) ispec.Platform {
	if p.Architecture == "" {
		p.OS = strings.ToLower(p.OS)
		return p
	}
	return normalize(p)
}

// NoPlatformError says what there was when nothing fitted.
type NoPlatformError struct {
	Want []ispec.Platform
	Have []ispec.Platform
}

func (e *NoPlatformError) Error() string {
	return fmt.Sprintf("no image for %s; available: %s", formatAll(e.Want, " or "), cmp.Or(formatAll(e.Have, ", "), "none"))
}

// Unwrap makes it match fs.ErrNotExist.
func (e *NoPlatformError) Unwrap() error { return fs.ErrNotExist }

func formatAll(ps []ispec.Platform, sep string) string {
	var names []string
	for _, p := range ps {
		if s := FormatPlatform(p); !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	return strings.Join(names, sep)
}

// Choice is one entry of an index.
type Choice struct {
	ispec.Descriptor
	Warning string // to be shown: the image may not run here; mostly empty
}

// Select chooses from an index the manifest that fits the first of the wanted
// platforms for which there is one. Among those the highest variant that is not
// above the wanted one is taken, then the newest os.version whose major number
// is not above the host's (hostOSVersion, such as 14.3-RELEASE; empty if
// unknown): FreeBSD runs programs of older releases, the other direction is not
// promised. If all are newer, the oldest of them is taken, with a warning.
//
// An index with a single image that names no platform yields that one; whoever
// reads its configuration checks again. The error is a *NoPlatformError.
func Select(index ispec.Index, want []ispec.Platform, hostOSVersion string) (Choice, error) {
	if len(want) == 0 {
		return Choice{}, errors.New("choose platform: none was asked for")
	}
	var images, unnamed []ispec.Descriptor
	var have []ispec.Platform
	for _, m := range index.Manifests {
		switch {
		case !IsManifest(m.MediaType) && !IsIndex(m.MediaType):
		case m.Annotations["vnd.docker.reference.type"] != "": // an attestation beside the images
		case m.Platform == nil:
			unnamed = append(unnamed, m)
		case m.Platform.OS == "unknown":
		default:
			images = append(images, m)
			have = append(have, *m.Platform)
		}
	}
	for _, w := range want {
		var fit []ispec.Descriptor
		for _, m := range images {
			if m.Platform.OS != "" && m.Platform.Architecture != "" && Match(w, *m.Platform) {
				fit = append(fit, m)
			}
		}
		if len(fit) > 0 {
			best := slices.MinFunc(fit, func(a, b ispec.Descriptor) int {
				return better(*a.Platform, *b.Platform, hostOSVersion)
			})
			return Choice{best, Newer(*best.Platform, hostOSVersion)}, nil
		}
	}
	if len(images) == 0 && len(unnamed) == 1 {
		return Choice{Descriptor: unnamed[0]}, nil
	}
	return Choice{}, &NoPlatformError{Want: want, Have: have}
}

// Newer returns a warning if the platform's os.version is of a newer major
// release than the host's, else nothing. Where one of them is unknown it is
// accepted.
func Newer(p ispec.Platform, hostOSVersion string) string {
	has, ok1 := version(p.OSVersion)
	host, ok2 := version(hostOSVersion)
	if !ok1 || !ok2 || strings.ToLower(p.OS) != "freebsd" || has[0] <= host[0] {
		return ""
	}
	return fmt.Sprintf("the image is made for %s %s, newer than this host's %s: it may not run", p.OS, p.OSVersion, hostOSVersion)
}

// better orders two platforms that both match: negative if a is preferred.
func better(a, b ispec.Platform, host string) int {
	la, _ := level(normalize(a))
	lb, _ := level(normalize(b))
	if la != lb {
		return cmp.Compare(lb, la)
	}
	newA, newB := Newer(a, host) != "", Newer(b, host) != ""
	va, _ := version(a.OSVersion)
	vb, _ := version(b.OSVersion)
	switch {
	case newA && !newB:
		return 1
	case newB && !newA:
		return -1
	case newA: // both too new: the oldest
		return slices.Compare(va[:], vb[:])
	}
	return slices.Compare(vb[:], va[:])
}

// version reads the numbers at the start of 14.3, 14.3-RELEASE-p2 or 15.0.
func version(s string) (v [2]int, ok bool) {
	s, _, _ = strings.Cut(s, "-")
	for i, part := range strings.SplitN(s, ".", 3) {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return v, i > 0
		}
		if i < len(v) {
			v[i] = n
		}
	}
	return v, true
}

// SamePlatform tells whether two are the same to the letter, os.version included,
// but for the various names of one thing.
func SamePlatform(a, b ispec.Platform) bool {
	a, b = normalize(a), normalize(b)
	return a.OS == b.OS && a.Architecture == b.Architecture && a.Variant == b.Variant && a.OSVersion == b.OSVersion
}
