package lint

// An Exemption allows one file to break one rule.
type Exemption struct {
	Rule   string
	Path   string
	Reason string
}

// Exempt lists the exemptions. Keep it short.
var Exempt = []Exemption{}
