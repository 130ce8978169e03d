"""What a person does with the cloud's database from the command line: back it up, restore it, check it, decide."""
