"""Any ``nn.Module`` as a plan: recorded once, its linear operations found, what lies between them recognised."""
