package image

import "strings"

// References are what a name may stand for. A name without a registry is
// looked for in those of search, in their order: HOST, HOST:PORT or either with a
// path, which goes before the name. With docker.io, or an empty list, it is what
// ParseReference makes of it.
func References(name string, search []string) ([]Reference, error) {
	ref, err := ParseReference(name)
	if err != nil {
		return nil, err
	}
	if len(search) == 0 || !isShort(name, ref) {
		return []Reference{ref}, nil
	}
	var list []Reference
	for _, place := range search {
		r := ref
		if strings.TrimSuffix(place, "/") != defaultDomain {
			if r, err = ParseReference(place + "/" + name); err != nil {
				return nil, err
			}
		}
		list = append(list, r)
	}
	return list, nil
}

// isShort tells whether a name was given without a registry.
func isShort(name string, ref Reference) bool {
	return ref.Domain == defaultDomain && !strings.HasPrefix(name, defaultDomain+"/") && !strings.HasPrefix(name, "index."+defaultDomain+"/")
}
