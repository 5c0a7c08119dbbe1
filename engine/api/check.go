package api

// States of what was looked at for a [Check].
const (
	CheckOK      = "ok"      // it is there
	CheckMissing = "missing" // Fix provides it
	CheckUnknown = "unknown" // it could not be found out: Detail says why
)

// Check is one thing that containers, or something one can do with them, need
// of the host.
type Check struct {
	Area     string `json:"area"`               // "kernel", "module", "sysctl", "dataset", "pf", "cgroup", …
	Name     string `json:"name"`               // as the system itself calls it
	State    string `json:"state"`              // one of the constants above
	Required bool   `json:"required,omitempty"` // no container runs without it
	Purpose  string `json:"purpose"`            // what it is for
	Detail   string `json:"detail,omitempty"`   // what was found
	Fix      string `json:"fix,omitempty"`      // the command that would provide it
}
