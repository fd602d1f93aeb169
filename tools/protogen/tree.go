package main

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// writeTree makes dir hold exactly the given files. Files that are already
// right are not touched, so that an unneeded generate costs no rebuild.
func writeTree(dir string, files map[string][]byte) error {
	stale, err := diffTree(dir, files)
	if err != nil {
		return err
	}
	for _, name := range stale {
		full := filepath.Join(dir, name)
		content, wanted := files[name]
		if !wanted {
			if err := os.Remove(full); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// diffTree lists, sorted, the files of dir that are missing, different or not
// wanted.
func diffTree(dir string, files map[string][]byte) ([]string, error) {
	stale := map[string]bool{}
	for name, content := range files {
		old, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(old, content) {
			stale[name] = true
		}
	}
	err := filepath.WalkDir(dir, func(full string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "__pycache__": // an interpreter's
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		name, err := filepath.Rel(dir, full)
		if _, wanted := files[filepath.ToSlash(name)]; !wanted {
			stale[name] = true
		}
		return err
	})
	if os.IsNotExist(err) {
		err = nil
	}
	return slices.Sorted(maps.Keys(stale)), err
}
