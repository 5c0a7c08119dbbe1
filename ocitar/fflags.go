package ocitar

import "strings"

// File flags of FreeBSD (chflags(1), sys/sys/stat.h), by the names that
// strtofflags(3) and libarchive give them.
var flagNames = [...]struct {
	name string
	bit  uint32
}{
	{"nodump", 0x1},
	{"uchg", 0x2},
	{"uappnd", 0x4},
	{"opaque", 0x8},
	{"uunlnk", 0x10},
	{"usystem", 0x80},
	{"usparse", 0x100},
	{"uoffline", 0x200},
	{"ureparse", 0x400},
	{"uarch", 0x800},
	{"urdonly", 0x1000},
	{"uhidden", 0x8000},
	{"arch", 0x10000},
	{"schg", 0x20000},
	{"sappnd", 0x40000},
	{"sunlnk", 0x100000},
}

// lockFlags are those that forbid to change, replace or remove.
const lockFlags = 0x2 | 0x4 | 0x10 | 0x20000 | 0x40000 | 0x100000

// flagAliases are other names of the same.
var flagAliases = map[string]string{
	"uchange": "uchg", "uimmutable": "uchg", "uappend": "uappnd", "uunlink": "uunlnk",
	"schange": "schg", "simmutable": "schg", "sappend": "sappnd", "sunlink": "sunlnk",
	"archived": "arch", "system": "usystem", "sparse": "usparse", "offline": "uoffline",
	"reparse": "ureparse", "uarchive": "uarch", "rdonly": "urdonly", "readonly": "urdonly",
	"hidden": "uhidden",
}

// parseFlags reads "schg,nodump"; dump is the absence of nodump, as noschg that of schg.
func parseFlags(s string) (flags uint32, unknown []string) {
next:
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		if name == "" || name == "dump" {
			continue
		}
		if to, ok := flagAliases[name]; ok {
			name = to
		}
		for _, f := range flagNames {
			if f.name == name {
				flags |= f.bit
				continue next
			}
			if "no"+f.name == name {
				continue next
			}
		}
		unknown = append(unknown, name)
	}
	return flags, unknown
}

// formatFlags is the reverse of parseFlags, without what the file system sets itself
// (uarch: ZFS sets it on each change).
func formatFlags(flags uint32) string {
	var names []string
	for _, f := range flagNames {
		if flags&f.bit != 0 && f.name != "uarch" && f.name != "usparse" && f.name != "ureparse" && f.name != "uoffline" {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, ",")
}
