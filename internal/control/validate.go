package control

import (
	"fmt"
	"strings"
)

// Validate reports what is wrong with t; adapters call it before anything else.
func (t *Txn) Validate() error {
	if len(t.If) > MaxOps || len(t.Do) > MaxOps {
		return fmt.Errorf("control: %d conditions and %d changes, at most %d of each: %w", len(t.If), len(t.Do), MaxOps, ErrInvalid)
	}
	for _, c := range t.If {
		if err := CheckKey(c.Key); err != nil {
			return err
		}
		if c.Modified < 0 {
			return fmt.Errorf("control: %q at revision %d: %w", c.Key, c.Modified, ErrInvalid)
		}
	}
	return validateOps(t.Do)
}

func validateOps(ops []Op) error {
	size := 0
	for i, op := range ops {
		if err := CheckKey(op.Key); err != nil {
			return err
		}
		if op.Kind < Put || op.Kind > DeletePrefix {
			return fmt.Errorf("control: %q: no such kind of change, %d: %w", op.Key, op.Kind, ErrInvalid)
		}
		size += len(op.Value)
		for _, earlier := range ops[:i] {
			if overlap(earlier, op) || overlap(op, earlier) {
				return fmt.Errorf("control: %q is changed twice in one transaction: %w", op.Key, ErrInvalid)
			}
		}
	}
	if size > MaxValue {
		return fmt.Errorf("control: %d bytes of values, at most %d; keep a blob and store its name: %w", size, MaxValue, ErrInvalid)
	}
	return nil
}

// overlap reports whether a changes a key that b changes.
func overlap(a, b Op) bool {
	return a.Key == b.Key || a.Kind == DeletePrefix && strings.HasPrefix(b.Key, a.Key)
}

// CheckKey reports what is wrong with a key.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("control: a key of %d bytes, want 1 to %d: %w", len(key), MaxKey, ErrInvalid)
	}
	return nil
}
