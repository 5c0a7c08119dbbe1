package engine

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Filters choose from what is listed: KEY=VALUE, by keys that belong to what it is.

// maxFilters bounds what one thing is compared with.
const maxFilters = 100

// filters are those of one kind of things.
type filters[T any] struct {
	keys []string // that there are
	each []string // those of which each filter has to fit, and not only one
	// read makes a filter of one of the keys and a value.
	read func(key, value string) (fits func(T) bool, err error)
}

// parse returns what tells whether something is chosen: one of the filters with
// the same key has to fit, and each key.
func (f filters[T]) parse(list []string) (func(T) bool, error) {
	if len(list) > maxFilters {
		return nil, fmt.Errorf("%d filters: %w: %d at the most", len(list), fs.ErrInvalid, maxFilters)
	}
	groups := map[string][]func(T) bool{}
	for _, text := range list {
		key, value, ok := strings.Cut(text, "=")
		if !ok || value == "" {
			return nil, fmt.Errorf("filter %q: %w: expected KEY=VALUE", text, fs.ErrInvalid)
		}
		if !slices.Contains(f.keys, key) {
			return nil, fmt.Errorf("filter %q: %w: the keys are %s", text, fs.ErrInvalid, enumerate(f.keys))
		}
		fits, err := f.read(key, value)
		if err != nil {
			return nil, fmt.Errorf("filter %q: %w", text, err)
		}
		group := key
		if slices.Contains(f.each, key) {
			group = text
		}
		groups[group] = append(groups[group], fits)
	}
	return func(x T) bool {
		for _, group := range groups {
			if !slices.ContainsFunc(group, func(fits func(T) bool) bool { return fits(x) }) {
				return false
			}
		}
		return true
	}, nil
}

// enumerate is a, b and c.
func enumerate(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// labelled reads KEY, which has to be among labels, or KEY=VALUE.
func labelled(text string) func(labels map[string]string) bool {
	key, value, given := strings.Cut(text, "=")
	return func(labels map[string]string) bool {
		have, ok := labels[key]
		return ok && (!given || have == value)
	}
}
