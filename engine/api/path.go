package api

import (
	"encoding/json"
	"unicode/utf8"
)

// A name in a container's root may be any bytes but NUL and '/', and JSON carries
// UTF-8. So a path that is not UTF-8 crosses twice: as text, with U+FFFD for what
// is not, and in raw_path, in base64, as it is.

// rawPath is what a path has beside its text.
func rawPath(path string) []byte {
	if utf8.ValidString(path) {
		return nil
	}
	return []byte(path)
}

// MarshalJSON adds raw_path if Path is not UTF-8.
func (c Change) MarshalJSON() ([]byte, error) {
	type text Change
	return json.Marshal(struct {
		text
		Raw []byte `json:"raw_path,omitempty"`
	}{text(c), rawPath(c.Path)})
}

// UnmarshalJSON prefers raw_path.
func (c *Change) UnmarshalJSON(b []byte) error {
	type text Change
	var v struct {
		text
		Raw []byte `json:"raw_path"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if *c = Change(v.text); v.Raw != nil {
		c.Path = string(v.Raw)
	}
	return nil
}

// MarshalJSON adds raw_path if Path is not UTF-8.
func (f File) MarshalJSON() ([]byte, error) {
	type text File
	return json.Marshal(struct {
		text
		Raw []byte `json:"raw_path,omitempty"`
	}{text(f), rawPath(f.Path)})
}

// UnmarshalJSON prefers raw_path.
func (f *File) UnmarshalJSON(b []byte) error {
	type text File
	var v struct {
		text
		Raw []byte `json:"raw_path"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if *f = File(v.text); v.Raw != nil {
		f.Path = string(v.Raw)
	}
	return nil
}
