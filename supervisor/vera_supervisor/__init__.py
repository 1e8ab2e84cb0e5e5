"""The parent: accepts, orders, persists and watches over tasks; runs no task code, ever."""
