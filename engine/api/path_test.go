package api

import (
	"encoding/json"
	"strings"
	"testing"
)

// Paths cross as they are; those that are text have no more than their text.
func TestPathsAreExact(t *testing.T) {
	for path, raw := range map[string]bool{"/a": false, "/é/\ufffd": false, "/caf\xe9": true, "/\xff\xfe/\n": true} {
		change, file := Change{ChangeAdded, path}, File{Path: path, Type: "file", Size: 7}
		for _, v := range []any{change, file} {
			b, err := json.Marshal(v)
			if err != nil || strings.Contains(string(b), "raw_path") != raw {
				t.Errorf("%q: %s, %v", path, b, err)
			}
			switch v := v.(type) {
			case Change:
				var got Change
				if err := json.Unmarshal(b, &got); err != nil || got != v {
					t.Errorf("%+v, %v", got, err)
				}
			case File:
				var got File
				if err := json.Unmarshal(b, &got); err != nil || got != v {
					t.Errorf("%+v, %v", got, err)
				}
			}
		}
	}
	b, err := json.Marshal(Change{ChangeAdded, "/caf\xe9"})
	if want := `{"kind":"added","path":"/caf\ufffd","raw_path":"L2NhZuk="}`; err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
}
